package eks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Tags on an instance that a rotation has taken out of target groups: one that
// says so, and one for each target group, whose value is its ARN. They are added
// BEFORE the instance is deregistered, and go with it when it ends.
const (
	tagQuiesced     = tagPrefix + "quiesced"
	tagQuiescedFrom = tagQuiesced + "/" // followed by the last part of the target group's ARN
)

// Quiesce implements sdk.Quiescer: it deregisters the instance from those of its
// group's target groups that it is in.
func (d *Driver) Quiesce(ctx context.Context, r sdk.InstanceRequest) (*sdk.Operation, error) {
	_, c, err := d.configured()
	if err != nil {
		return nil, err
	}
	unlock, err := d.changing.lock(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, op, err := d.open(ctx, c, r.GroupID, r.RotationID)
	switch {
	case op != nil || err != nil:
		return op, err
	case g.member(r.InstanceID) == nil:
		return nil, sdk.Errorf(codes.NotFound, "instance %s is not in group %s: it has ended, or somebody detached it", r.InstanceID, r.GroupID)
	case g.going(r.InstanceID):
		return &sdk.Operation{State: sdk.OperationDone, Phase: "already terminating"}, nil
	}
	var in, draining []string
	for _, arn := range g.TargetGroupARNs {
		state, diag := targetState(ctx, c, arn, r.InstanceID)
		switch {
		case diag != nil:
			return failed(*diag), nil
		case state == elbtypes.TargetHealthStateEnumDraining:
			draining = append(draining, arn)
		case state != elbtypes.TargetHealthStateEnumUnused:
			in = append(in, arn)
		}
	}
	if r.DryRun {
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}, nil
	}
	if len(in) > 0 {
		defer d.view.changed()
		// A repeated call adds to the record and takes nothing from it.
		if diag := recordQuiesced(ctx, c, r, in); diag != nil {
			return failed(*diag), nil
		}
	}
	for _, arn := range in {
		d.view.balancers.leave(arn, r.InstanceID)
		_, err := c.elb.DeregisterTargets(ctx, &elasticloadbalancingv2.DeregisterTargetsInput{TargetGroupArn: &arn, Targets: target(r.InstanceID)})
		if err != nil {
			return failed(diagnose("elasticloadbalancing:DeregisterTargets", targetGroupName(arn), err)), nil
		}
	}
	if leaving := append(in, draining...); len(leaving) > 0 {
		return &sdk.Operation{State: sdk.OperationRunning, Phase: drainingPhase(leaving)}, nil
	}
	return &sdk.Operation{State: sdk.OperationDone, Phase: "out of its target groups"}, nil
}

// Unquiesce implements sdk.Quiescer: it registers the instance again where the
// record says that a rotation took it out.
func (d *Driver) Unquiesce(ctx context.Context, r sdk.InstanceRequest) (*sdk.Operation, error) {
	_, c, err := d.configured()
	if err != nil {
		return nil, err
	}
	unlock, err := d.changing.lock(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, op, err := d.open(ctx, c, r.GroupID, r.RotationID)
	switch {
	case status.Code(err) == codes.NotFound:
		return &sdk.Operation{State: sdk.OperationDone, Phase: "the group is gone"}, nil
	case op != nil || err != nil:
		return op, err
	case g.going(r.InstanceID):
		return &sdk.Operation{State: sdk.OperationDone, Phase: "gone, or on its way"}, nil
	case r.DryRun:
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}, nil
	}
	diags, diag := d.rebalance(ctx, c, g, r.InstanceID)
	if diag != nil {
		return failed(*diag), nil
	}
	return &sdk.Operation{State: sdk.OperationDone, Diagnostics: diags}, nil
}

// rebalance puts back what the records on the group's instances say: of one of
// them, or of all. A target group that the group has left meanwhile is left out.
// Each record goes after what it describes.
func (d *Driver) rebalance(ctx context.Context, c *clients, g *group, only string) (diags []sdk.Diagnostic, diag *sdk.Diagnostic) {
	if len(g.TargetGroupARNs) == 0 {
		return nil, nil
	}
	stop := func(action, object string, err error) ([]sdk.Diagnostic, *sdk.Diagnostic) {
		diag := diagnose(action, object, err)
		return diags, &diag
	}
	records, err := quiescedInstances(ctx, c.ec2, g.name, only)
	if err != nil {
		return stop("ec2:DescribeInstances", g.name, err)
	}
	if len(records) > 0 {
		defer d.view.changed()
	}
	for _, rec := range records {
		if g.going(rec.instance) {
			continue // the record goes with it
		}
		for _, arn := range rec.from {
			if !slices.Contains(g.TargetGroupARNs, arn) {
				diags = append(diags, finding(sdk.SeverityInfo, "target-group-detached", targetGroupName(arn),
					"Register the instance there by hand if it is to be there.",
					"instance %s is not put back into target group %s: group %s is not attached to it any more", rec.instance, targetGroupName(arn), g.name))
				continue
			}
			_, err := c.elb.RegisterTargets(ctx, &elasticloadbalancingv2.RegisterTargetsInput{TargetGroupArn: &arn, Targets: target(rec.instance)})
			if err != nil {
				return stop("elasticloadbalancing:RegisterTargets", targetGroupName(arn), err)
			}
			d.view.balancers.back(arn, rec.instance)
		}
		var drop []ec2types.Tag
		for _, k := range rec.keys {
			drop = append(drop, ec2types.Tag{Key: &k})
		}
		if _, err := c.ec2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: []string{rec.instance}, Tags: drop}); err != nil {
			return stop("ec2:DeleteTags", rec.instance, err)
		}
	}
	return diags, nil
}

// recordQuiesced writes what is about to be taken out.
func recordQuiesced(ctx context.Context, c *clients, r sdk.InstanceRequest, arns []string) *sdk.Diagnostic {
	tags := []ec2types.Tag{{Key: aws.String(tagQuiesced), Value: aws.String(r.RotationID)}}
	for _, arn := range arns {
		tags = append(tags, ec2types.Tag{Key: aws.String(tagQuiescedFrom + lastPart(arn)), Value: aws.String(arn)})
	}
	if _, err := c.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{r.InstanceID}, Tags: tags}); err != nil {
		diag := diagnose("ec2:CreateTags", r.InstanceID, err)
		return &diag
	}
	return nil
}

// quiescedRecord is what the tags of one instance say.
type quiescedRecord struct {
	instance string
	from     []string // ARNs, sorted
	keys     []string // of the tags
}

// quiescedInstances reads the records of a group's instances, or of one alone.
func quiescedInstances(ctx context.Context, client *ec2.Client, group, only string) ([]quiescedRecord, error) {
	in := &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{
		{Name: aws.String("tag:aws:autoscaling:groupName"), Values: []string{group}},
		{Name: aws.String("tag-key"), Values: []string{tagQuiesced}},
	}}
	if only != "" {
		in.Filters = append(in.Filters, ec2types.Filter{Name: aws.String("instance-id"), Values: []string{only}})
	}
	var records []quiescedRecord
	for range maxPages {
		out, err := client.DescribeInstances(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				rec := quiescedRecord{instance: aws.ToString(i.InstanceId)}
				for _, t := range i.Tags {
					if k := aws.ToString(t.Key); k == tagQuiesced || strings.HasPrefix(k, tagQuiescedFrom) {
						rec.keys = append(rec.keys, k)
						if k != tagQuiesced {
							rec.from = append(rec.from, aws.ToString(t.Value))
						}
					}
				}
				slices.Sort(rec.from)
				records = append(records, rec)
			}
		}
		if aws.ToString(out.NextToken) == "" {
			slices.SortFunc(records, func(a, b quiescedRecord) int { return strings.Compare(a.instance, b.instance) })
			return records, nil
		}
		in.NextToken = out.NextToken
	}
	return nil, fmt.Errorf("more than %d pages of instances carry the tag %s", maxPages, tagQuiesced)
}

// targetState reads the state of one instance in a target group, at the port of
// the group: where Auto Scaling registers it.
func targetState(ctx context.Context, c *clients, arn, instance string) (elbtypes.TargetHealthStateEnum, *sdk.Diagnostic) {
	out, err := c.elb.DescribeTargetHealth(ctx, &elasticloadbalancingv2.DescribeTargetHealthInput{TargetGroupArn: &arn, Targets: target(instance)})
	if errCode(err) == "TargetGroupNotFound" {
		return elbtypes.TargetHealthStateEnumUnused, nil
	}
	if err != nil {
		diag := diagnose("elasticloadbalancing:DescribeTargetHealth", targetGroupName(arn), err)
		return "", &diag
	}
	for _, h := range out.TargetHealthDescriptions {
		if h.TargetHealth != nil {
			return h.TargetHealth.State, nil
		}
	}
	return elbtypes.TargetHealthStateEnumUnused, nil
}

func target(instance string) []elbtypes.TargetDescription {
	return []elbtypes.TargetDescription{{Id: &instance}}
}

func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// targetGroupName takes the name out of arn:...:targetgroup/NAME/ID.
func targetGroupName(arn string) string {
	parts := strings.Split(arn, "/")
	if len(parts) != 3 {
		return arn
	}
	return parts[1]
}

func drainingPhase(arns []string) string {
	names := make([]string, 0, len(arns))
	for _, arn := range arns {
		names = append(names, targetGroupName(arn))
	}
	slices.Sort(names)
	return "draining connections of target group " + joinAnd(names)
}
