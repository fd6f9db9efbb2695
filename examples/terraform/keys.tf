# The keys' stack and its monitoring. CloudFormation deploys them, because the template needs the SAM transform.

variable "artifacts" {
  type        = string
  description = "The bucket that `sam package` uploaded the code to."
}

variable "packaged" {
  type        = string
  default     = "packaged.yaml"
  description = "What `sam package` wrote."
}

variable "alarm_email" {
  type        = string
  default     = ""
  description = "Address that the alarms tell. If it is empty, they change state but notify nobody."
}

data "aws_s3_bucket" "artifacts" {
  bucket = var.artifacts
}

# Terraform compares the template's URL, not its content, so the name holds the content's hash.
resource "aws_s3_object" "template" {
  bucket = data.aws_s3_bucket.artifacts.id
  key    = "gaia-api-keys/${filesha256(var.packaged)}.yaml"
  source = var.packaged
}

resource "aws_cloudformation_stack" "keys" {
  name         = "gaia-api-keys"
  template_url = "https://${data.aws_s3_bucket.artifacts.bucket_regional_domain_name}/${aws_s3_object.template.key}"
  capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]

  # Every parameter that was ever set: at an update, one that isn't here gets its default.
  parameters = {
    ServiceName   = "gaia"
    KeyDisclosure = "id"
  }

  # An update moves the traffic of two functions step by step, and may roll back the same way. Terraform gives up after 30
  # minutes by itself, while the stack goes on in AWS.
  timeouts {
    create = "60m"
    update = "90m"
    delete = "60m"
  }
}

resource "aws_cloudformation_stack" "monitoring" {
  name          = "gaia-api-keys-monitoring"
  template_body = file("${path.module}/../../stacks/monitoring.yaml")

  parameters = {
    Monitored      = "/gaia-api-keys/${aws_cloudformation_stack.keys.name}"
    AlarmEmail     = var.alarm_email
    UsageLogGroups = aws_cloudwatch_log_group.items.name
  }

  # The stack reads these by itself, but only when Terraform deploys it.
  tags = {
    table             = aws_cloudformation_stack.keys.outputs["TableName"]
    kms_key           = aws_cloudformation_stack.keys.outputs["KmsKeyId"]
    secondary_kms_key = lookup(aws_cloudformation_stack.keys.parameters, "SecondaryKmsKeyId", "")
  }
}

output "api_url" {
  value = aws_cloudformation_stack.keys.outputs["ApiUrl"]
}

# To create the stack again: docs/deploy.md, "Adopt a table and a KMS key".
output "table_name" {
  value = aws_cloudformation_stack.keys.outputs["TableName"]
}

output "kms_key_id" {
  value = aws_cloudformation_stack.keys.outputs["KmsKeyId"]
}
