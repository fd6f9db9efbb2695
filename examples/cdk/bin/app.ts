import { App } from "aws-cdk-lib";
import { KeysStack } from "../lib/keys-stack";
import { MonitoringStack } from "../lib/monitoring-stack";
import { ProtectedApiStack } from "../lib/protected-api-stack";

const app = new App();
const setting = (name: string) => String(app.node.getContext(name)); // from cdk.json, or from -c name=value

const keys = new KeysStack(app, "gaia-api-keys", { artifact: setting("artifact") });
const api = new ProtectedApiStack(app, "protected-api", {
  keysStack: keys.stackName,
  authorizerCacheSeconds: Number(setting("authorizerCacheSeconds")),
  setUpRestApiLogging: setting("setUpRestApiLogging") === "true",
});
api.addStackDependency(keys); // the export must exist before it is imported
const monitoring = new MonitoringStack(app, "gaia-api-keys-monitoring");
monitoring.addStackDependency(keys); // so must the list of what to watch
