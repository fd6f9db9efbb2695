terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

# The Region and the account come from the environment: AWS_REGION, AWS_PROFILE and the like.
provider "aws" {}
