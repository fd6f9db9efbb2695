"""Each of these edits of the templates makes a test of this folder fail.

An edit is what somebody may do by mistake: it replaces the first `old` text after `where`. Only the named tests run, on an
emulator of their own, until the first failure. VERBOSE=1 prints what they say.

Three edits go unnoticed here and are left to tests/template: another path for a route of the management API, since `$default`
serves it too; a statement without its condition "Null", since each operation that it allows names a key; an authorizer that
other accounts' APIs may ask.
"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile
import typing
import unittest

from deployment import templates

FOLDER = pathlib.Path(__file__).parent


class Edit(typing.NamedTuple):
    what: str
    where: str
    old: str
    new: str
    seen_by: str
    template: str = "MAIN"


KEYS, ACCESS, ROLES = "test_keys.LifeOfAKey", "test_access.Access", "test_roles.Roles"
BOTH = "test_harness.BothStacks"
SETTINGS, ADOPTION = "test_operations.Settings", "test_operations.Adoption"
ROOT_KEYS, FAILED = "test_operations.RootKeys", "test_operations.Rollback"
PROTECTED, CACHE = "test_protected.Protected", "test_protected_cache.NextRequest"
AUTHORIZER, SIMPLE = "test_protected_settings.Settings", "test_protected_simple.Simple"

EDITS = [
    # Permissions that are missing, or too wide.
    Edit("no right to delete keys", "- Sid: Change", ", dynamodb:DeleteItem]", "]", f"{KEYS}.test_delete"),
    Edit("no right to update keys", "- Sid: Change", "[dynamodb:UpdateItem, ", "[", f"{KEYS}.test_update"),
    Edit("no right to write keys", "- Sid: Write", "dynamodb:PutItem", "dynamodb:BatchWriteItem", f"{KEYS}.test_create"),
    Edit("no right to list keys", "- Sid: List", "dynamodb:Query", "dynamodb:Scan", f"{KEYS}.test_get_and_list"),
    Edit("no right to list usage", "- Sid: List", ', !Sub "${ServiceName}#use"]', "]", f"{KEYS}.test_get_and_list"),
    Edit(
        "no right to read idempotency records",
        "- Sid: Read",
        '!Sub "${ServiceName}#idem", ',
        "",
        f"{KEYS}.test_a_repeated_rotation_gets_the_same_key",
    ),
    Edit(
        "no right to record use",
        "- Sid: Write",
        '- !If [TracksUsage, !Sub "${ServiceName}#use", !Ref AWS::NoValue]',
        "- x",
        f"{KEYS}.test_verify_records_use",
    ),
    Edit(
        "the authorizer can't record use",
        "- Sid: Usage",
        "${ServiceName}#use",
        "${ServiceName}#used",
        f"{ROLES}.test_partitions",
    ),
    Edit("the authorizer can't read keys", "- Sid: Keys", "dynamodb:GetItem", "dynamodb:Query", BOTH),
    Edit(
        "the authorizer may change keys",
        "- Sid: Keys",
        "Action: dynamodb:GetItem",
        "Action: [dynamodb:GetItem, dynamodb:UpdateItem]",
        f"{ROLES}.test_partitions",
    ),
    Edit(
        "the authorizer may write where keys are",
        "- Sid: Usage",
        '[!Sub "${ServiceName}#use"]',
        '[!Ref ServiceName, !Sub "${ServiceName}#use"]',
        f"{ROLES}.test_transactions_part_by_part",
    ),
    Edit(
        "the authorizer may write into the API's log",
        "- Sid: Usage",
        "!GetAtt AuthorizerLogs.Arn",
        '"*"',
        f"{ROLES}.test_log_groups",
    ),
    # Conditions.
    Edit(
        "a condition on another partition",
        "- Sid: Change",
        "[!Ref ServiceName]",
        '[!Sub "${ServiceName}-x"]',
        f"{KEYS}.test_update",
    ),
    Edit(
        "a condition that admits longer names",
        "- Sid: Change",
        "ForAllValues:StringEquals:\n                    dynamodb:LeadingKeys: [!Ref ServiceName]",
        'ForAllValues:StringLike:\n                    dynamodb:LeadingKeys: [!Sub "${ServiceName}*"]',
        f"{ROLES}.test_partitions",
    ),
    Edit(
        "a condition that demands no leading key",
        "- Sid: Keys",
        '"dynamodb:LeadingKeys": "false"',
        '"dynamodb:LeadingKeys": "true"',
        BOTH,
    ),
    Edit("another MAC algorithm", "- Sid: RootKey", "HMAC_SHA_256", "HMAC_SHA_512", f"{KEYS}.test_create"),
    # ARNs.
    Edit("the ARN of another table", "- Sid: Change", "table/${Name}", "table/${Name}/index/*", f"{KEYS}.test_update"),
    Edit(
        "every table",
        "- Sid: Keys",
        "table/${Name}",
        "table/*",
        f"{ROLES}.test_nothing_else_of_the_table_and_no_other_table",
    ),
    Edit(
        "the ARN of an alias in place of the KMS key's",
        "- Sid: RootKey",
        ":key/${Id}",
        ":alias/${Id}",
        f"{KEYS}.test_create",
    ),
    Edit("every KMS key", "AuthorizerFunctionRole:", "key/${Id}", "key/*", f"{ROLES}.test_kms"),
    Edit(
        "no right to use the secondary KMS key",
        "- Sid: RootKey",
        "key/${SecondaryKmsKeyId}",
        "key/${KmsKeyId}",
        ROOT_KEYS,
    ),
    Edit("an ApiArn of another service", "  ApiArn:", ":execute-api:", ":apigateway:", f"{ACCESS}.test_who_manages_keys"),
    # The KMS key's policy.
    Edit(
        "a KMS key for roles of another path",
        "- Sid: FunctionsGenerateMac",
        "role/gaia-api-keys/",
        "role/gaia/",
        f"{KEYS}.test_create",
    ),
    Edit(
        "a KMS key for every service's roles",
        "- Sid: FunctionsGenerateMac",
        "gaia-api-keys/${ServiceName}/*",
        "gaia-api-keys/*",
        f"{ROLES}.test_the_kms_key_serves_the_roles_under_its_path_only",
    ),
    Edit(
        "a KMS key that administrators may use",
        "- Sid: AccountAdministers",
        '"kms:CancelKeyDeletion"',
        '"kms:*"',
        f"{ROLES}.test_the_kms_key_serves_the_roles_under_its_path_only",
    ),
    Edit(
        "a role that trusts another service",
        "  ApiFunctionRole:",
        "lambda.amazonaws.com",
        "ec2.amazonaws.com",
        f"{KEYS}.test_create",
    ),
    Edit(
        "roles of another path",
        "  ApiFunctionRole:",
        "Path: !Sub /gaia-api-keys/${ServiceName}/",
        "Path: /",
        f"{KEYS}.test_create",
    ),
    # Variables of the functions.
    Edit(
        "no TABLE_NAME",
        "Globals:",
        "        TABLE_NAME: !If [CreateTable, !Ref Table, !Ref ExistingTableName]\n",
        "",
        f"{KEYS}.test_create",
    ),
    Edit(
        "another TABLE_NAME",
        "Globals:",
        "TABLE_NAME: !If [CreateTable, !Ref Table,",
        "TABLE_NAME: !If [CreateTable, another-table,",
        f"{KEYS}.test_create",
    ),
    Edit("no KMS_KEY_ID", "Globals:", "        KMS_KEY_ID:", "        KMS_KEY:", f"{KEYS}.test_create"),
    Edit("no secondary KMS key in KMS_KEY_ID", "Globals:", '!Sub ",${SecondaryKmsKeyId}"', '""', ROOT_KEYS),
    Edit(
        "another SERVICE_NAME",
        "Globals:",
        "SERVICE_NAME: !Ref ServiceName",
        "SERVICE_NAME: !Ref AWS::StackName",
        f"{KEYS}.test_create",
    ),
    Edit(
        "no TRACK_USAGE",
        "Globals:",
        "        TRACK_USAGE: !Ref TrackUsage\n",
        "",
        f"{SETTINGS}.test_a_changed_setting_is_a_new_version",
    ),
    Edit(
        "no READ_ROUTES",
        "Globals:",
        "        READ_ROUTES: !Ref ReadRoutes\n",
        "",
        f"{SETTINGS}.test_read_routes_reach_the_function",
    ),
    Edit(
        "no KEY_DISCLOSURE",
        "  ApiFunction:",
        "          KEY_DISCLOSURE: !Ref KeyDisclosure\n",
        "",
        f"{SETTINGS}.test_a_changed_setting_is_a_new_version",
    ),
    Edit(
        "no KEY_HEADER",
        "  AuthorizerFunction:",
        "          KEY_HEADER: !Ref KeyHeader\n",
        "",
        f"{AUTHORIZER}.test_the_header",
    ),
    Edit(
        "no SIMPLE_RESPONSES",
        "  AuthorizerFunction:",
        "          SIMPLE_RESPONSES: !Ref SimpleResponses\n",
        "",
        f"{SIMPLE}.test_documented_identity_sources",
    ),
    Edit("one FUNCTION for both", "  AuthorizerFunction:", "FUNCTION: authorizer", "FUNCTION: api", BOTH),
    # Versions, aliases and their permissions.
    Edit(
        "a setting that isn't in the version's description",
        "  ApiFunction:",
        "- ${KeyDisclosure} ",
        "- ",
        f"{SETTINGS}.test_a_changed_setting_is_a_new_version",
    ),
    Edit(
        "a version's description that says more than the function",
        "  ApiFunction:",
        " ${Name}",
        " ${ExistingTableName}",
        f"{SETTINGS}.test_the_stacks_own_table_and_kms_key_by_name",
    ),
    Edit(
        "no permission for API Gateway to ask the authorizer",
        "  AuthorizerPermission:",
        "apigateway.amazonaws.com",
        "events.amazonaws.com",
        BOTH,
    ),
    Edit(
        "a permission for the function, not for its alias",
        "  AuthorizerPermission:",
        "!Ref AuthorizerFunction.Alias",
        "!Ref AuthorizerFunction",
        BOTH,
    ),
    Edit("a permission for routes, not for authorizers", "  AuthorizerPermission:", "*/authorizers/*", "*/*/GET/*", BOTH),
    Edit(
        "an AuthorizerArn without the alias",
        "  AuthorizerArn:",
        "!Ref AuthorizerFunction.Alias",
        "!GetAtt AuthorizerFunction.Arn",
        BOTH,
    ),
    # Routes and who may call them.
    Edit("no authorizer by default", "  Api:\n", "        DefaultAuthorizer: AWS_IAM\n", "", f"{ACCESS}.test_unsigned"),
    Edit(
        "no authorizer for all other paths",
        "        Other:",
        "{ ApiId: !Ref Api }",
        "{ ApiId: !Ref Api, Auth: { Authorizer: NONE } }",
        f"{ACCESS}.test_unsigned",
    ),
    Edit(
        "no route for all other paths",
        "        Other:",
        "{ ApiId: !Ref Api }",
        "{ ApiId: !Ref Api, Method: GET, Path: /other }",
        f"{KEYS}.test_unknown_paths_and_methods_are_the_functions_own",
    ),
    Edit("protected routes without an authorizer", "  HttpApi:", "        DefaultAuthorizer: ApiKey\n", "", BOTH, "EXAMPLE"),
    Edit("REST routes without an authorizer", "  RestApi:", "        DefaultAuthorizer: ApiKey\n", "", BOTH, "EXAMPLE"),
    Edit("an identity source that no client sends", "  HttpApi:", "[Authorization]", "[X-Api-Key]", BOTH, "EXAMPLE"),
    Edit(
        "simple responses that the authorizer doesn't give",
        "  HttpApi:",
        "EnableSimpleResponses: false",
        "EnableSimpleResponses: true",
        BOTH,
        "EXAMPLE",
    ),
    Edit("another path of a protected route", "        HttpRead:", "Path: /items", "Path: /item", BOTH, "EXAMPLE"),
    Edit("another method of a protected route", "        RestRead:", "Method: GET", "Method: PUT", BOTH, "EXAMPLE"),
    Edit(
        "a protected route of the HTTP API without an authorizer",
        "        HttpWrite:",
        "Method: POST,",
        "Method: POST, Auth: { Authorizer: NONE },",
        f"{PROTECTED}.test_what_permissions_open",
        "EXAMPLE",
    ),
    Edit(
        "a protected route of the REST API without an authorizer",
        "        RestWrite:",
        "Method: POST,",
        "Method: POST, Auth: { Authorizer: NONE },",
        f"{PROTECTED}.test_what_permissions_open",
        "EXAMPLE",
    ),
    Edit(
        "an HTTP API without a cache",
        "  HttpApi:",
        "ReauthorizeEvery: !Ref AuthorizerCacheSeconds",
        "ReauthorizeEvery: 0",
        f"{CACHE}.test_permissions",
        "EXAMPLE",
    ),
    Edit(
        "a REST API that always has a cache",
        "  RestApi:",
        "ReauthorizeEvery: !Ref AuthorizerCacheSeconds",
        "ReauthorizeEvery: 300",
        f"{PROTECTED}.test_without_a_key",
        "EXAMPLE",
    ),
    Edit(
        "a backend that logs keys",
        "  Backend:",
        "            passed_on = event",
        "            print(event)\n            passed_on = event",
        f"{PROTECTED}.test_reasons",
        "EXAMPLE",
    ),
    # What stays, and what is adopted.
    Edit(
        "a table that goes with the stack",
        "  Table:",
        "DeletionPolicy: Retain",
        "DeletionPolicy: Delete",
        f"{ADOPTION}.test_a_deleted_stack_is_adopted",
    ),
    Edit(
        "a KMS key that goes with the stack",
        "  KmsKey:",
        "DeletionPolicy: RetainExceptOnCreate",
        "DeletionPolicy: Delete",
        f"{ADOPTION}.test_a_deleted_stack_is_adopted",
    ),
    Edit(
        "a KMS key that a failed deployment leaves",
        "  KmsKey:",
        "DeletionPolicy: RetainExceptOnCreate",
        "DeletionPolicy: Retain",
        f"{FAILED}.test_a_failed_first_deployment_leaves_the_table",
    ),
    Edit(
        "an audit log that goes with the stack",
        "  ApiLogs:",
        "DeletionPolicy: RetainExceptOnCreate",
        "DeletionPolicy: Delete",
        f"{ADOPTION}.test_a_deleted_stack_is_adopted",
    ),
    Edit(
        "a table without deletion protection",
        "  Table:",
        "DeletionProtectionEnabled: true",
        "DeletionProtectionEnabled: false",
        f"{FAILED}.test_a_failed_first_deployment_leaves_the_table",
    ),
    Edit(
        "a KMS key of one Region",
        "  KmsKey:",
        "MultiRegion: true",
        "MultiRegion: false",
        f"{ADOPTION}.test_the_kms_key_can_be_adopted_in_another_region",
    ),
    Edit(
        "a table with its keys the other way round",
        "  Table:",
        "service, KeyType: HASH }\n        - { AttributeName: id,",
        "id, KeyType: HASH }\n        - { AttributeName: service,",
        f"{KEYS}.test_get_and_list",
    ),
    Edit(
        "an adopted table's name from nowhere",
        "Globals:",
        "!Ref ExistingTableName]",
        '"existing"]',
        f"{ADOPTION}.test_a_deleted_stack_is_adopted",
    ),
    Edit(
        "no right to an adopted table",
        "- Sid: Read",
        "!Ref ExistingTableName]",
        "existing]",
        f"{ADOPTION}.test_a_deleted_stack_is_adopted",
    ),
    Edit(
        "two equal KMS keys",
        "  TwoKmsKeys:",
        "!Ref KmsKeyId",
        "!Ref TableKmsKeyArn",
        f"{SETTINGS}.test_what_the_template_rejects",
    ),
    Edit(
        "a right to record use that TrackUsage doesn't take away",
        "  AuthorizerFunctionRole:",
        "- TracksUsage",
        "- CreateTable",
        f"{AUTHORIZER}.test_use_that_cannot_be_recorded",
    ),
    # Logs.
    Edit(
        "the authorizer's log in the API's group",
        "  AuthorizerFunction:",
        "LogGroup: !Ref AuthorizerLogs",
        "LogGroup: !Ref ApiLogs",
        f"{PROTECTED}.test_reasons",
    ),
    Edit(
        "the API's log in the authorizer's group",
        "  ApiFunction:",
        "LogGroup: !Ref ApiLogs",
        "LogGroup: !Ref AuthorizerLogs",
        f"{KEYS}.test_create",
    ),
]


def edited(edit):
    text = getattr(templates, edit.template)
    assert text.count(edit.where) >= 1, f"{edit.what}: no {edit.where!r}"
    before, after = text.split(edit.where, 1)
    assert edit.old in after, f"{edit.what}: no {edit.old!r}"
    return before + edit.where + after.replace(edit.old, edit.new, 1)


def notices(edit):
    """The named test's last line about the edit, if it fails."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(edited(edit))
        file.flush()
        process = subprocess.run(
            [sys.executable, "-B", "-m", "unittest", "--failfast", edit.seen_by],
            cwd=FOLDER,
            env=os.environ | {f"TEST_{edit.template}": file.name, "TEST_EMULATOR": f"edit-{EDITS.index(edit)}"},
            capture_output=True,
            text=True,
            timeout=120,
        )
    if process.returncode == 0:
        return None
    assert "unittest.loader._FailedTest" not in process.stderr, f"{edit.what}: {edit.seen_by} isn't a test"
    lines = [line for line in process.stderr.splitlines() if line and not line.startswith((" ", "-", "=", "Ran", "FAILED"))]
    return lines[-1][:200]


class Mutations(unittest.TestCase):
    def test_every_edit_is_noticed(self):
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            noticed = dict(zip((edit.what for edit in EDITS), pool.map(notices, EDITS)))
        if "VERBOSE" in os.environ:
            for what, line in noticed.items():
                print(f"{what}: {line}", file=sys.stderr)
        self.assertEqual([what for what, line in noticed.items() if line is None], [])


if __name__ == "__main__":
    unittest.main()
