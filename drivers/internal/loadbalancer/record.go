package loadbalancer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Tags on an instance that a rotation has taken out of load balancers: one that
// says so, and one for each, whose value is its id. They are added BEFORE the
// instance is deregistered, and go with it when it ends.
const (
	tagQuiesced     = "rotatord.github.io/quiesced"
	tagQuiescedFrom = tagQuiesced + "/" // followed by the last part of the id
)

// maxPages bounds a paged describe: a thousand instances a page.
const maxPages = 100

// EC2 are the calls for the records.
type EC2 interface {
	CreateTags(context.Context, *ec2.CreateTagsInput, ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error)
	DeleteTags(context.Context, *ec2.DeleteTagsInput, ...func(*ec2.Options)) (*ec2.DeleteTagsOutput, error)
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
}

// record is what the tags of one instance say.
type record struct {
	instance string
	from     []string // ids, sorted
	keys     []string // of the tags
}

// record writes what is about to be taken out.
func (c *Client) record(ctx context.Context, r sdk.InstanceRequest, ids []string) *Failure {
	tags := []ec2types.Tag{{Key: aws.String(tagQuiesced), Value: aws.String(r.RotationID)}}
	for _, id := range ids {
		tags = append(tags, ec2types.Tag{Key: aws.String(tagQuiescedFrom + id[strings.LastIndexByte(id, '/')+1:]), Value: aws.String(id)})
	}
	if _, err := c.EC2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{r.InstanceID}, Tags: tags}); err != nil {
		return &Failure{"ec2:CreateTags", r.InstanceID, err}
	}
	return nil
}

// drop removes a record.
func (c *Client) drop(ctx context.Context, rec record) *Failure {
	var tags []ec2types.Tag
	for _, k := range rec.keys {
		tags = append(tags, ec2types.Tag{Key: &k})
	}
	if _, err := c.EC2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: []string{rec.instance}, Tags: tags}); err != nil {
		return &Failure{"ec2:DeleteTags", rec.instance, err}
	}
	return nil
}

// records reads those of a group's instances, or of one alone, by instance.
func (c *Client) records(ctx context.Context, group, only string) ([]record, *Failure) {
	in := &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{
		{Name: aws.String("tag:aws:autoscaling:groupName"), Values: []string{group}},
		{Name: aws.String("tag-key"), Values: []string{tagQuiesced}},
	}}
	if only != "" {
		in.Filters = append(in.Filters, ec2types.Filter{Name: aws.String("instance-id"), Values: []string{only}})
	}
	var records []record
	for range maxPages {
		out, err := c.EC2.DescribeInstances(ctx, in)
		if err != nil {
			return nil, &Failure{"ec2:DescribeInstances", group, err}
		}
		for _, r := range out.Reservations {
			for i := range r.Instances {
				records = append(records, recordOf(&r.Instances[i]))
			}
		}
		if aws.ToString(out.NextToken) == "" {
			slices.SortFunc(records, func(a, b record) int { return strings.Compare(a.instance, b.instance) })
			return records, nil
		}
		in.NextToken = out.NextToken
	}
	return nil, &Failure{"ec2:DescribeInstances", group, fmt.Errorf("more than %d pages of instances carry the tag %s", maxPages, tagQuiesced)}
}

func recordOf(i *ec2types.Instance) record {
	rec := record{instance: aws.ToString(i.InstanceId)}
	for _, t := range i.Tags {
		k := aws.ToString(t.Key)
		from := strings.HasPrefix(k, tagQuiescedFrom)
		if from {
			rec.from = append(rec.from, aws.ToString(t.Value))
		}
		if from || k == tagQuiesced {
			rec.keys = append(rec.keys, k)
		}
	}
	slices.Sort(rec.from)
	return rec
}
