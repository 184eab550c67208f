package eks

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

// kubernetesMinor takes MAJOR.MINOR out of a version.
var kubernetesMinor = regexp.MustCompile(`^v?(\d+\.\d+)(?:\.\d+)?$`)

// imageFacts of a machine image. They never change.
type imageFacts struct {
	id, name, architecture string
	created                time.Time         // zero: unknown
	tags                   map[string]string // of its owner, seen by that account alone
}

// release is the image as a person knows it.
func (i imageFacts) release() sdk.Release {
	r := sdk.Release{ID: i.id, Name: i.name, Created: i.created, Kubernetes: i.kubernetes()}
	if p, _, ok := parseImage(i.name); ok {
		r.Notes = p.family.notes(p.serial)
	}
	return r
}

// kubernetes is the version of the kubelet in the image, MAJOR.MINOR; empty:
// neither its name nor a tag of it says. The tags are those that the builders of
// EKS' own images write.
func (i imageFacts) kubernetes() string {
	if p, _, ok := parseImage(i.name); ok {
		return p.kubernetes
	}
	for _, key := range []string{"kubernetes", "kubernetes_version"} {
		if m := kubernetesMinor.FindStringSubmatch(i.tags[key]); m != nil {
			return m[1]
		}
	}
	return ""
}

// imageCache remembers images by id. One that EC2 does not show (deregistered,
// or of an account that does not share it any more) is remembered without name.
type imageCache struct{ known map[string]imageFacts }

// read makes the cache know the images, 200 a call.
func (c *imageCache) read(ctx context.Context, client *ec2.Client, ids []string) error {
	if c.known == nil {
		c.known = map[string]imageFacts{}
	}
	ask := map[string]bool{}
	for _, id := range ids {
		if _, ok := c.known[id]; !ok && id != "" {
			ask[id] = true
		}
	}
	for chunk := range slices.Chunk(slices.Sorted(maps.Keys(ask)), instancesPerCall) {
		found, err := describeImages(ctx, client, chunk)
		if err != nil {
			return statusOf("ec2:DescribeImages", strconv.Itoa(len(chunk))+" images", err)
		}
		for _, id := range chunk {
			c.known[id] = imageFacts{id: id}
		}
		for _, i := range found {
			c.known[i.id] = i
		}
	}
	return nil
}

// forget drops images that nobody asks about any more.
func (c *imageCache) forget(keep map[string]bool) {
	maps.DeleteFunc(c.known, func(id string, _ imageFacts) bool { return !keep[id] })
}

// describeImages reads images. Those that EC2 does not show are left out, since
// a filter, unlike a list of ids, does not make the whole call fail for one.
func describeImages(ctx context.Context, client *ec2.Client, ids []string) ([]imageFacts, error) {
	in := &ec2.DescribeImagesInput{
		Filters:           []ec2types.Filter{{Name: aws.String("image-id"), Values: ids}},
		IncludeDeprecated: aws.Bool(true), // what a group runs may be two years old
	}
	var found []imageFacts
	for range maxPages {
		out, err := client.DescribeImages(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, i := range out.Images {
			f := imageFacts{id: aws.ToString(i.ImageId), name: aws.ToString(i.Name), architecture: string(i.Architecture), tags: map[string]string{}}
			if at, err := time.Parse(time.RFC3339, aws.ToString(i.CreationDate)); err == nil {
				f.created = at
			}
			for _, t := range i.Tags {
				f.tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
			found = append(found, f)
		}
		if aws.ToString(out.NextToken) == "" {
			return found, nil
		}
		in.NextToken = out.NextToken
	}
	return nil, sdk.Errorf(codes.ResourceExhausted, "ec2:DescribeImages: more than %d pages for %d images", maxPages, len(ids))
}
