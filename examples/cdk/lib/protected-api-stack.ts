import { CfnOutput, Duration, Fn, RemovalPolicy, Stack, StackProps } from "aws-cdk-lib";
import * as rest from "aws-cdk-lib/aws-apigateway";
import * as http from "aws-cdk-lib/aws-apigatewayv2";
import { HttpLambdaIntegration } from "aws-cdk-lib/aws-apigatewayv2-integrations";
import * as lambda from "aws-cdk-lib/aws-lambda";
import * as logs from "aws-cdk-lib/aws-logs";
import { Construct } from "constructs";

export interface ProtectedApiStackProps extends StackProps {
  /** Name of the keys' stack; its authorizer is imported from there. */
  readonly keysStack: string;
  /** How long the gateway caches a response. 0 denies a revoked key at once; longer is cheaper and faster. */
  readonly authorizerCacheSeconds: number;
  /** REST APIs write access logs with one role for the account and Region. False if yours has one already. */
  readonly setUpRestApiLogging: boolean;
}

/** An HTTP API and a REST API that ask for an API key: examples/protected-api/template.yaml with the CDK. */
export class ProtectedApiStack extends Stack {
  constructor(scope: Construct, id: string, props: ProtectedApiStackProps) {
    super(scope, id, props);
    const cache = Duration.seconds(props.authorizerCacheSeconds);

    const authorizer = lambda.Function.fromFunctionAttributes(this, "Authorizer", {
      functionArn: Fn.importValue(`${props.keysStack}-AuthorizerArn`),
      skipPermissions: true, // the keys' stack grants it
    });
    const backend = this.backend();

    // ------------------------------------------------------------------------------------------------------- HTTP API
    const httpApi = new http.HttpApi(this, "HttpApi", { createDefaultStage: false });
    // HttpAuthorizer, because HttpLambdaAuthorizer sends payload format 1.0 unless responses are simple ones.
    const httpAuthorizer = new http.HttpAuthorizer(this, "HttpApiKey", {
      httpApi,
      authorizerName: "ApiKey",
      type: http.HttpAuthorizerType.LAMBDA,
      authorizerUri: `arn:${this.partition}:apigateway:${this.region}:lambda:path/2015-03-31/functions/${authorizer.functionArn}/invocations`,
      payloadFormatVersion: http.AuthorizerPayloadVersion.VERSION_2_0,
      enableSimpleResponses: false, // as SimpleResponses of the keys' stack
      identitySource: ["$request.header.Authorization"], // as KeyHeader of that stack, and no other
      resultsCacheTtl: cache,
    });
    // Routes that name their methods: on ANY and $default routes of an HTTP API, keys with `routes` are denied.
    httpApi.addRoutes({
      path: "/items",
      methods: [http.HttpMethod.GET, http.HttpMethod.POST],
      integration: new HttpLambdaIntegration("Backend", backend),
      authorizer: http.HttpAuthorizer.fromHttpAuthorizerAttributes(this, "HttpRouteApiKey", {
        authorizerId: httpAuthorizer.authorizerId,
        authorizerType: "CUSTOM",
      }),
    });
    const httpLogs = this.accessLogs("HttpApiLogs", "http");
    new http.HttpStage(this, "HttpStage", {
      httpApi,
      stageName: "$default",
      autoDeploy: true,
      throttle: { rateLimit: 100, burstLimit: 200 },
      accessLogSettings: {
        destination: new http.LogGroupLogDestination(httpLogs),
        format: rest.AccessLogFormat.custom(accessLogFormat("$context.routeKey")),
      },
    });

    // ------------------------------------------------------------------------------------------------------- REST API
    const restLogs = this.accessLogs("RestApiLogs", "rest");
    const restApi = new rest.RestApi(this, "RestApi", {
      endpointConfiguration: { types: [rest.EndpointType.REGIONAL] },
      cloudWatchRole: props.setUpRestApiLogging, // kept when the stack goes, as it serves every REST API
      deployOptions: {
        stageName: "live",
        tracingEnabled: true,
        throttlingRateLimit: 100,
        throttlingBurstLimit: 200,
        accessLogDestination: new rest.LogGroupLogDestination(restLogs),
        accessLogFormat: rest.AccessLogFormat.custom(accessLogFormat("$context.httpMethod $context.resourcePath")),
      },
      defaultMethodOptions: {
        authorizer: new rest.RequestAuthorizer(this, "RestApiKey", {
          handler: authorizer,
          authorizerName: "ApiKey",
          identitySources: [rest.IdentitySource.header("Authorization")],
          resultsCacheTtl: cache,
        }),
      },
    });
    const items = restApi.root.addResource("items");
    items.addMethod("GET", new rest.LambdaIntegration(backend, { allowTestInvoke: false }));
    items.addMethod("POST", new rest.LambdaIntegration(backend, { allowTestInvoke: false }));

    // ---------------------------------------------------------------------------------------------------------- Usage
    new logs.QueryDefinition(this, "UsageQuery", {
      queryDefinitionName: `${this.stackName}/which keys were used and when last`,
      logGroups: [httpLogs, restLogs],
      queryString: new logs.QueryString({
        filterStatements: ['ispresent(key_id) and key_id != "-"'],
        statsStatements: ["latest(@timestamp) as last_used, count(*) as requests by key_id"],
        sort: "last_used desc",
      }),
    });

    const tryIt = "Try: curl -H 'Authorization: Bearer <key>' <this>";
    new CfnOutput(this, "HttpApiUrl", { description: tryIt, value: `${httpApi.apiEndpoint}/items` });
    new CfnOutput(this, "RestApiUrl", { description: tryIt, value: restApi.urlForPath("/items") });
    new CfnOutput(this, "UsageLogGroups", {
      description: "For UsageLogGroups of the monitoring stack.",
      value: [httpLogs.logGroupName, restLogs.logGroupName].join(","),
    });
  }

  /** What is being protected: it returns what the authorizer passed on. */
  private backend() {
    return new lambda.Function(this, "Backend", {
      runtime: lambda.Runtime.PYTHON_3_13,
      handler: "index.handler",
      timeout: Duration.seconds(5),
      code: lambda.Code.fromInline(`import json

def handler(event, _context):
    passed_on = event["requestContext"]["authorizer"]
    passed_on = passed_on.get("lambda", passed_on)  # HTTP APIs nest it
    body = {name: passed_on.get(name) for name in ("key_id", "service", "permissions")}
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
`),
      logGroup: new logs.LogGroup(this, "BackendLogs", {
        retention: logs.RetentionDays.THREE_MONTHS,
        removalPolicy: RemovalPolicy.DESTROY,
      }),
      loggingFormat: lambda.LoggingFormat.JSON,
    });
  }

  private accessLogs(id: string, name: string) {
    return new logs.LogGroup(this, id, {
      logGroupName: `/aws/vendedlogs/${this.stackName}/${name}`,
      retention: logs.RetentionDays.THREE_MONTHS,
      removalPolicy: RemovalPolicy.DESTROY, // a new stack of this name makes a log group of this name
    });
  }
}

/** One JSON object per request. It has the key's ID, and no path, query or header. */
function accessLogFormat(route: string) {
  return JSON.stringify({
    requestId: "$context.requestId",
    time: "$context.requestTime",
    route,
    status: "$context.status",
    key_id: "$context.authorizer.key_id",
    sourceIp: "$context.identity.sourceIp",
    latency: "$context.responseLatency",
    error: "$context.error.responseType",
  });
}
