# The authorizer in front of an HTTP API. No aws_lambda_permission is needed: the keys' stack lets every API of the account and
# Region call the authorizer.

variable "backend" {
  type        = string
  description = "URL of what is being protected."
}

locals {
  # The ARN of the authorizer's alias. API Gateway wants it inside a URI of its own.
  authorizer     = aws_cloudformation_stack.keys.outputs["AuthorizerArn"]
  partition      = split(":", local.authorizer)[1]
  region         = split(":", local.authorizer)[3]
  authorizer_uri = "arn:${local.partition}:apigateway:${local.region}:lambda:path/2015-03-31/functions/${local.authorizer}/invocations"
}

resource "aws_apigatewayv2_api" "items" {
  name          = "items"
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_authorizer" "api_key" {
  api_id                            = aws_apigatewayv2_api.items.id
  name                              = "ApiKey"
  authorizer_type                   = "REQUEST"
  authorizer_uri                    = local.authorizer_uri
  authorizer_payload_format_version = "2.0"
  enable_simple_responses           = false                             # as the parameter SimpleResponses
  identity_sources                  = ["$request.header.Authorization"] # as the parameter KeyHeader, and no other
  authorizer_result_ttl_in_seconds  = 0                                 # Terraform's default is 300
}

resource "aws_apigatewayv2_integration" "items" {
  api_id             = aws_apigatewayv2_api.items.id
  integration_type   = "HTTP_PROXY"
  integration_method = "ANY"
  integration_uri    = var.backend
}

# Routes that name their methods: on ANY and $default routes, keys with `routes` are denied.
resource "aws_apigatewayv2_route" "items" {
  for_each           = toset(["GET /items", "POST /items"])
  api_id             = aws_apigatewayv2_api.items.id
  route_key          = each.value
  authorization_type = "CUSTOM"
  authorizer_id      = aws_apigatewayv2_authorizer.api_key.id
  target             = "integrations/${aws_apigatewayv2_integration.items.id}"
}

resource "aws_cloudwatch_log_group" "items" {
  name              = "/aws/vendedlogs/items"
  retention_in_days = 90
}

resource "aws_apigatewayv2_stage" "items" {
  api_id      = aws_apigatewayv2_api.items.id
  name        = "$default"
  auto_deploy = true

  default_route_settings {
    throttling_rate_limit  = 100
    throttling_burst_limit = 200
  }

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.items.arn
    format = jsonencode({
      requestId = "$context.requestId"
      time      = "$context.requestTime"
      route     = "$context.routeKey"
      status    = "$context.status"
      key_id    = "$context.authorizer.key_id"
      sourceIp  = "$context.identity.sourceIp"
      latency   = "$context.responseLatency"
      error     = "$context.error.responseType"
    })
  }
}
