import { Stack, StackProps, Stage, Validations } from "aws-cdk-lib";
import { CfnInclude } from "aws-cdk-lib/cloudformation-include";
import { Asset } from "aws-cdk-lib/aws-s3-assets";
import { CfnFunction } from "aws-cdk-lib/aws-sam";
import { Construct } from "constructs";
import * as fs from "fs";
import * as path from "path";

export interface KeysStackProps extends StackProps {
  /** The folder that holds the built `bootstrap`, or the zip file of a release. */
  readonly artifact: string;
}

/** The keys' stack: template.yaml unchanged, with its parameters and outputs, and the code as an asset. */
export class KeysStack extends Stack {
  constructor(scope: Construct, id: string, props: KeysStackProps) {
    super(scope, id, props);

    const template = new CfnInclude(this, "Template", {
      templateFile: this.readable(path.join(__dirname, "../../../template.yaml")),
      // SAM makes a function's DeploymentPreference a resource of its own; until then, functions and alarms form a circle.
      allowCyclicalReferences: true,
    });
    const code = new Asset(this, "Code", { path: props.artifact });
    for (const name of ["ApiFunction", "AuthorizerFunction"]) {
      const lambda = template.getResource(name) as CfnFunction;
      lambda.codeUri = { bucket: code.s3BucketName, key: code.s3ObjectKey };
    }

    // CDK's own validation reads the defaults of parameters, but not the conditions that guard them.
    for (const rule of ["W1001", "W1030"]) {
      Validations.of(this).acknowledge({ id: `CloudFormation-Validate::${rule}`, reason: "guarded by a condition" });
    }
  }

  /** CfnInclude doesn't know `!Ref Function.Alias`. SAM takes the same in a `!Sub`, and so does CfnInclude. */
  private readable(template: string) {
    const text = fs.readFileSync(template, "utf8").replace(/!Ref (\w+\.Alias)\b/g, '!Sub "${$1}"');
    const copy = path.join(Stage.of(this)!.outdir, "template.yaml");
    fs.writeFileSync(copy, text);
    return copy;
  }
}
