package aws

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParameterRecommendedImage is the SSM parameter that names the newest machine image, as
// /aws/service/eks/optimized-ami/VERSION/…/recommended/image_id does at AWS.
const ParameterRecommendedImage = "/sandbox/eks/ami/recommended/image_id"

// image is a machine image of the account.
type image struct {
	id, name, architecture string
	kubernetes             string // the version of the kubelet in it; "": not known
	created                time.Time
	tags                   map[string]string
}

// ImageSpec is a machine image to be.
type ImageSpec struct {
	// Name must be unique in the account.
	Name string
	// CreationDate defaults to now.
	CreationDate time.Time
	// Architecture defaults to x86_64.
	Architecture string
	Tags         map[string]string
}

// CreateImage adds a machine image and answers its id.
func (c *Cloud) CreateImage(s ImageSpec) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.createImage(s).id
}

func (c *Cloud) createImage(s ImageSpec) *image {
	i := &image{id: c.newID("ami"), name: s.Name, architecture: s.Architecture, created: s.CreationDate, tags: s.Tags}
	if i.architecture == "" {
		i.architecture = "x86_64"
	}
	if i.created.IsZero() {
		i.created = c.now()
	}
	if i.tags == nil {
		i.tags = map[string]string{}
	}
	c.images[i.id] = i
	c.imageOrder = append(c.imageOrder, i)
	return i
}

// parameter is an SSM parameter of type String with all its versions.
type parameter struct {
	name     string
	values   []string // values[n-1] is version n
	modified time.Time
	image    bool // DataType aws:ec2:image
}

// PutParameter sets an SSM parameter, of data type aws:ec2:image when the value is an image id, and answers its version.
func (c *Cloud) PutParameter(name, value string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.putParameter(name, value)
}

func (c *Cloud) putParameter(name, value string) int64 {
	p := c.parameters[name]
	if p == nil {
		p = &parameter{name: name}
		c.parameters[name] = p
	}
	p.values = append(p.values, value)
	p.modified = c.now()
	p.image = strings.HasPrefix(value, "ami-")
	return int64(len(p.values))
}

// resolveParameter reads NAME or NAME:VERSION.
func (c *Cloud) resolveParameter(ref string) (p *parameter, version int64, err error) {
	name, selector, versioned := strings.Cut(ref, ":")
	p = c.parameters[name]
	if p == nil {
		return nil, 0, &Error{Code: "ParameterNotFound"}
	}
	version = int64(len(p.values))
	if versioned {
		version, err = strconv.ParseInt(selector, 10, 64)
		if err != nil || version < 1 || version > int64(len(p.values)) {
			return nil, 0, failf("ParameterVersionNotFound", "Systems Manager could not find version %s of %s. Verify the version and try again.", selector, name)
		}
	}
	return p, version, nil
}

// resolveImage makes an image id of what a launch template names: an id, or resolve:ssm:PARAMETER[:VERSION]. EC2's guide
// ("Use a Systems Manager parameter to find an AMI") resolves it at each launch, so that the template need not change.
func (c *Cloud) resolveImage(ref string) (string, error) {
	name, isParameter := strings.CutPrefix(ref, "resolve:ssm:")
	if isParameter {
		p, version, err := c.resolveParameter(name)
		if err != nil {
			return "", failf("InvalidParameterValue", "The Systems Manager parameter %s does not exist or cannot be read", name)
		}
		ref = p.values[version-1]
	}
	if c.images[ref] == nil {
		return "", failf("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", ref)
	}
	return ref, nil
}

func (c *Cloud) arn(service, resource string) string {
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, c.cfg.Region, c.cfg.AccountID, resource)
}
