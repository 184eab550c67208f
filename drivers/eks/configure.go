package eks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Bounds of the SDK's own retries, about four seconds in all. Longer troubles are
// answered to the engine, which knows whether waiting is worth it.
const (
	maxAttempts = 5
	minBackoff  = 250 * time.Millisecond // the SDK's own begins at a second
	maxBackoff  = 3 * time.Second
	// identityTimeout bounds the search for credentials: off EC2 the SDK ends it
	// by asking an instance metadata service that nobody answers for.
	identityTimeout = 10 * time.Second
)

// Configure implements sdk.Driver. With validateOnly it checks raw against the
// schema and calls nobody. Else it finds a region and credentials and proves
// them with STS GetCallerIdentity, the one call that needs no permission.
func (d *Driver) Configure(ctx context.Context, raw []byte, validateOnly bool) ([]sdk.Diagnostic, error) {
	cfg, diags := parseConfig(raw)
	if len(diags) > 0 || validateOnly {
		return diags, nil
	}
	awsCfg, diag := loadAWS(ctx, cfg)
	if diag != nil {
		return []sdk.Diagnostic{*diag}, nil
	}
	c := newClients(awsCfg, cfg.Endpoint)
	if diag := checkIdentity(ctx, awsCfg, c.sts); diag != nil {
		return []sdk.Diagnostic{*diag}, nil
	}
	d.mu.Lock()
	d.cfg, d.clients = cfg, c
	d.mu.Unlock()
	d.view.reset()
	return nil, nil
}

func loadAWS(ctx context.Context, cfg Config) (aws.Config, *sdk.Diagnostic) {
	// The SDK's log lines are free text on stderr, where the host expects JSON,
	// and say nothing that an error does not.
	opts := []func(*config.LoadOptions) error{config.WithRetryer(newRetryer), config.WithLogger(logging.Nop{})}
	if cfg.Region != "" {
		opts = append(opts, config.WithRegion(cfg.Region))
	}
	if cfg.Profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(cfg.Profile))
	}
	awsCfg, err := config.LoadDefaultConfig(ctx, opts...)
	if missing := (config.SharedConfigProfileNotExistError{}); errors.As(err, &missing) {
		return awsCfg, &sdk.Diagnostic{
			Severity: sdk.SeverityError, Code: "aws-profile-missing", Object: missing.Profile,
			Summary: fmt.Sprintf("there is no AWS profile %q", missing.Profile),
			Detail:  "Name a profile of ~/.aws/config in the driver's configuration or in AWS_PROFILE, or leave it out.",
		}
	}
	if err != nil {
		return awsCfg, &sdk.Diagnostic{
			Severity: sdk.SeverityError, Code: "aws-config-invalid", Object: "aws",
			Summary: "the AWS configuration cannot be read",
			Detail:  err.Error() + ". Check the AWS_* variables and the files in ~/.aws.",
		}
	}
	if awsCfg.Region == "" {
		return awsCfg, &sdk.Diagnostic{
			Severity: sdk.SeverityError, Code: "aws-region-missing", Object: "aws",
			Summary: "no AWS region is set",
			Detail:  "Set region in the driver's configuration, or AWS_REGION, or region in the AWS profile: it must be the cluster's region.",
		}
	}
	return awsCfg, nil
}

// newRetryer is the SDK's standard retryer with tighter bounds.
func newRetryer() aws.Retryer {
	return retry.NewStandard(bounds)
}

// newCarefulRetryer repeats only what AWS says it did not do. It is for changes
// of capacity: a repeat whose first try did happen, unseen, would take capacity
// twice or overwrite what somebody else set in between.
func newCarefulRetryer() aws.Retryer {
	return retry.NewStandard(bounds, func(o *retry.StandardOptions) {
		o.Retryables = []retry.IsErrorRetryable{retry.RetryableErrorCode{Codes: retry.DefaultThrottleErrorCodes}}
	})
}

func bounds(o *retry.StandardOptions) {
	o.MaxAttempts, o.MaxBackoff = maxAttempts, maxBackoff
	o.Backoff = retry.BackoffDelayerFunc(backoff)
}

// backoff doubles with each attempt. A half of it is chance, so that drivers
// that were throttled together do not come back together.
func backoff(attempt int, _ error) (time.Duration, error) {
	d := min(minBackoff<<min(attempt, maxAttempts), maxBackoff)
	return d/2 + rand.N(d/2), nil
}

// carefully is an option of one call.
func carefully(o *autoscaling.Options) { o.Retryer = newCarefulRetryer() }

func newClients(cfg aws.Config, endpoint string) *clients {
	var base *string
	if endpoint != "" {
		base = &endpoint
	}
	// A nil BaseEndpoint would hide AWS_ENDPOINT_URL, so it is set only if given.
	return &clients{
		credentials: cfg.Credentials,
		asg:         autoscaling.NewFromConfig(cfg, func(o *autoscaling.Options) { setIf(&o.BaseEndpoint, base) }),
		ec2:         ec2.NewFromConfig(cfg, func(o *ec2.Options) { setIf(&o.BaseEndpoint, base) }),
		eks:         eks.NewFromConfig(cfg, func(o *eks.Options) { setIf(&o.BaseEndpoint, base) }),
		ssm:         ssm.NewFromConfig(cfg, func(o *ssm.Options) { setIf(&o.BaseEndpoint, base) }),
		elb:         elasticloadbalancingv2.NewFromConfig(cfg, func(o *elasticloadbalancingv2.Options) { setIf(&o.BaseEndpoint, base) }),
		sts:         sts.NewFromConfig(cfg, func(o *sts.Options) { setIf(&o.BaseEndpoint, base) }),
	}
}

func setIf(dst **string, v *string) {
	if v != nil {
		*dst = v
	}
}

// checkIdentity tells missing credentials from refused ones.
func checkIdentity(ctx context.Context, cfg aws.Config, client *sts.Client) *sdk.Diagnostic {
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return &sdk.Diagnostic{
			Severity: sdk.SeverityError, Code: "aws-credentials-missing", Object: "aws",
			Summary: "no AWS credentials were found",
			Detail:  fmt.Sprintf("%v. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (aws sso login), or run with an instance or pod role.", err),
		}
	}
	if _, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}); err != nil {
		diag := diagnose("sts:GetCallerIdentity", "region "+cfg.Region, err)
		return &diag
	}
	return nil
}
