"""The table and the KMS key, and what becomes of them."""

import fnmatch
import re

from check import ADOPTED, KEY_ARN, KEY_IDS, as_list, check, same
from stack import MAIN, Stack


@check(
    MAIN,
    ("AttributeName: ttl", "AttributeName: expires"),
    ("{ AttributeName: id, KeyType: RANGE }", "{ AttributeName: service, KeyType: RANGE }"),
    ("{ AttributeName: id, AttributeType: S }", "{ AttributeName: id, AttributeType: B }"),
    ("PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false"),
    ("DeletionProtectionEnabled: true", "DeletionProtectionEnabled: false"),
    ("        MaxReadRequestUnits: !Ref MaxReadUnits\n", ""),
)
def table(text):
    stack = Stack(text)
    table = stack["Table"]
    same(table["KeySchema"], [
        {"AttributeName": "service", "KeyType": "HASH"},
        {"AttributeName": "id", "KeyType": "RANGE"},
    ])
    same({a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]}, {"service": "S", "id": "S"})
    same(table["TimeToLiveSpecification"], {"AttributeName": "ttl", "Enabled": True})
    same(table["BillingMode"], "PAY_PER_REQUEST")
    same(table["OnDemandThroughput"], {"MaxReadRequestUnits": 3000, "MaxWriteRequestUnits": 1000})
    same(table["PointInTimeRecoverySpecification"], {"PointInTimeRecoveryEnabled": True})
    same(table["DeletionProtectionEnabled"], True)
    assert "SSESpecification" not in table
    with_key = Stack(text, TableKmsKeyArn=KEY_ARN + KEY_IDS[2])["Table"]
    same(with_key["SSESpecification"], {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY_ARN + KEY_IDS[2]})


@check(
    MAIN,
    ("DeletionPolicy: RetainExceptOnCreate", "DeletionPolicy: Retain"),
    ("DeletionPolicy: RetainExceptOnCreate", "DeletionPolicy: Delete"),
    ("Condition: CreateTable\n    DeletionPolicy: Retain", "Condition: CreateTable\n    DeletionPolicy: RetainExceptOnCreate"),
    ("Value: !If [CreateTable, !Ref Table, !Ref ExistingTableName]", "Value: !Ref Table"),
)
def data_outlives_the_stack(text):
    stack = Stack(text)
    # A rollback can't delete a table with deletion protection: it would end in ROLLBACK_FAILED.
    for name, policy in (
        ("Table", "Retain"),
        ("KmsKey", "RetainExceptOnCreate"),
        ("ApiLogs", "RetainExceptOnCreate"),
    ):
        same(stack.resources[name].get("DeletionPolicy"), policy, name)
        same(stack.resources[name].get("UpdateReplacePolicy"), "Retain", name)
    adopted = Stack(text, **ADOPTED)  # resolving fails if anything refers to what isn't made
    assert "Table" not in adopted.resources and "KmsKey" not in adopted.resources
    same(adopted.outputs["TableName"]["Value"], "old-table")
    same(adopted.outputs["KmsKeyId"]["Value"], KEY_IDS[0])


@check(
    MAIN,
    ("      - Assert: !Not [!Equals [!Ref SecondaryKmsKeyId, !Ref KmsKeyId]]", "      - Assert: !Equals [!Ref KmsKeyId, !Ref KmsKeyId]"),
    ("    RuleCondition: !Not [!Equals [!Ref SecondaryKmsKeyId, \"\"]]\n", ""),
)
def one_key_is_not_both(text):
    """The same KMS key twice is no second root key: such a replacement would replace nothing."""
    for parameters in ({}, {"KmsKeyId": KEY_IDS[0]}, {"SecondaryKmsKeyId": KEY_IDS[0]}, ADOPTED):
        same(Stack(text, **parameters).rejected(), [], parameters)
    same(len(Stack(text, KmsKeyId=KEY_IDS[0], SecondaryKmsKeyId=KEY_IDS[0]).rejected()), 1)


@check(
    MAIN,
    ('"kms:TagResource",', '"kms:TagResource", "kms:GenerateMac",'),
    ('"kms:TagResource",', '"kms:TagResource", "kms:CreateGrant",'),
    ("      Path: !Sub /gaia-api-keys/${ServiceName}/\n", ""),
    ("role/gaia-api-keys/${ServiceName}/*", "role/*"),
)
def kms_key(text):
    stack = Stack(text)
    key = stack["KmsKey"]
    same((key["KeySpec"], key["KeyUsage"], key["MultiRegion"]), ("HMAC_256", "GENERATE_VERIFY_MAC", True))
    administer, use = key["KeyPolicy"]["Statement"]
    for statement in (administer, use):
        same(statement["Principal"], {"AWS": "arn:aws:iam::111122223333:root"})
    for action in administer["Action"]:
        assert "*" not in action, f"{action} may hold more than it says"
        assert not re.search("Mac$|Grant$|Sign|Encrypt|Decrypt|Derive", action.replace("RevokeGrant", "")), action
    assert "kms:PutKeyPolicy" in administer["Action"], "nobody could administer the key"
    same(use["Action"], "kms:GenerateMac")
    pattern = "arn:aws:iam::111122223333:role/gaia-api-keys/gaia/*"
    same(use["Condition"], {
        "StringEquals": {"kms:MacAlgorithm": "HMAC_SHA_256"},
        "ArnLike": {"aws:PrincipalArn": pattern},
    })
    for name, role in stack.of_type("AWS::IAM::Role").items():
        arn = f"arn:aws:iam::111122223333:role{role.get('Path', '/')}{name}"
        same(fnmatch.fnmatch(arn, pattern), name in ("ApiFunctionRole", "AuthorizerFunctionRole"), arn)


@check(
    MAIN,
    ("MetricName: RequestFailed\n", "MetricName: RequestFailed\n              Dimensions: [{ Name: ApiId, Value: !Ref Api }]\n"),
    (
        "aws:PrincipalArn: !Sub arn:${AWS::Partition}:iam::${AWS::AccountId}:role/gaia-api-keys/${ServiceName}/*",
        "aws:PrincipalArn: !GetAtt ApiFunctionRole.Arn",
    ),
    ('Value: !Sub "${ApiFunction}:live"', "Value: !Ref ApiFunction.Alias"),
)
def no_cycles(text):
    """CloudFormation rejects resources that depend on each other in a circle; cfn-lint doesn't find all of them."""
    resources = Stack(text).template["Resources"]

    def referred(node):
        if isinstance(node, str):  # of Fn::Sub, as nothing else holds ${...}
            return set(re.findall(r"\$\{([A-Za-z0-9]+)[.}]", node))
        if isinstance(node, list):
            return {name for value in node for name in referred(value)}
        if not isinstance(node, dict):
            return set()
        found = {name for value in node.values() for name in referred(value)}
        found |= {node["Ref"]} if "Ref" in node else set()
        found |= {node["Fn::GetAtt"][0]} if "Fn::GetAtt" in node else set()
        return found | set(as_list(node.get("DependsOn", [])))

    graph = {name: (referred(resource) & set(resources)) - {name} for name, resource in resources.items()}
    while free := {name for name, needs in graph.items() if not needs}:
        graph = {name: needs - free for name, needs in graph.items() if name not in free}
    same(graph, {}, "a circle")
