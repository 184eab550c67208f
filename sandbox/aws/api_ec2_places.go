package aws

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

type describeImagesInput struct {
	ImageIDs          []string `q:"ImageId"`
	Owners            []string `q:"Owner"`
	ExecutableUsers   []string `q:"ExecutableBy"`
	Filters           []Filter `q:"Filter"`
	IncludeDeprecated bool
	IncludeDisabled   bool
	MaxResults        *int
	NextToken         string
	DryRun            bool
}

type describeImagesOutput struct {
	Images    []ec2Image `x:"imagesSet"`
	NextToken string     `x:"nextToken"`
}

type ec2Image struct {
	ImageID            string `x:"imageId"`
	ImageLocation      string
	ImageState         string
	ImageOwnerID       string `x:"imageOwnerId"`
	CreationDate       string
	Public             bool `x:"isPublic"`
	Architecture       string
	ImageType          string
	Name               string
	Description        string
	RootDeviceType     string
	RootDeviceName     string
	VirtualizationType string
	Hypervisor         string
	EnaSupport         bool
	PlatformDetails    string
	UsageOperation     string
	BlockDevices       []struct{} `x:"blockDeviceMapping"`
	Tags               []Tag      `x:"tagSet"`
}

// creationDate is how images carry their date: a string, with milliseconds.
func creationDate(i *image) string { return i.created.UTC().Format("2006-01-02T15:04:05.000Z") }

func (c *Cloud) describeImages(in *describeImagesInput) (*describeImagesOutput, error) {
	known := fields[*image]{
		"image-id":            func(i *image) []string { return []string{i.id} },
		"name":                func(i *image) []string { return []string{i.name} },
		"architecture":        func(i *image) []string { return []string{i.architecture} },
		"state":               func(*image) []string { return []string{"available"} },
		"creation-date":       func(i *image) []string { return []string{creationDate(i)} },
		"owner-id":            func(*image) []string { return []string{c.cfg.AccountID} },
		"is-public":           func(*image) []string { return []string{"false"} },
		"image-type":          func(*image) []string { return []string{"machine"} },
		"root-device-type":    func(*image) []string { return []string{"ebs"} },
		"virtualization-type": func(*image) []string { return []string{"hvm"} },
	}
	match, err := matchEC2(in.Filters, known, func(i *image) map[string]string { return i.tags })
	if err != nil {
		return nil, err
	}
	for _, id := range in.ImageIDs {
		switch {
		case !strings.HasPrefix(id, "ami-"):
			return nil, failf("InvalidAMIID.Malformed", "Invalid id: \"%s\" (expecting \"ami-...\")", id)
		case c.images[id] == nil:
			return nil, failf("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", id)
		}
	}
	if in.DryRun {
		return nil, errDryRun
	}
	mine := len(in.Owners) == 0 || slices.Contains(in.Owners, "self") || slices.Contains(in.Owners, c.cfg.AccountID)
	var list []*image
	for _, i := range c.imageOrder {
		if mine && match(i) && (len(in.ImageIDs) == 0 || slices.Contains(in.ImageIDs, i.id)) {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b *image) int { return cmp.Compare(a.id, b.id) })
	items, next, ok := page("images", list, func(i *image) string { return i.id }, in.NextToken, deref(in.MaxResults))
	if !ok {
		return nil, errNextToken
	}
	out := &describeImagesOutput{Images: []ec2Image{}, NextToken: next}
	for _, i := range items {
		out.Images = append(out.Images, ec2Image{
			ImageID: i.id, ImageLocation: c.cfg.AccountID + "/" + i.name, ImageState: "available", ImageOwnerID: c.cfg.AccountID,
			CreationDate: creationDate(i), Architecture: i.architecture, ImageType: "machine", Name: i.name,
			Description: "simulated machine image", RootDeviceType: "ebs", RootDeviceName: "/dev/xvda", VirtualizationType: "hvm", Hypervisor: "xen",
			EnaSupport: true, PlatformDetails: "Linux/UNIX", UsageOperation: "RunInstances", BlockDevices: []struct{}{}, Tags: tagList(i.tags),
		})
	}
	return out, nil
}

type describeRegionsInput struct {
	RegionNames []string `q:"RegionName"`
	Filters     []Filter `q:"Filter"`
	AllRegions  bool
	DryRun      bool
}

type describeRegionsOutput struct {
	Regions []ec2Region `x:"regionInfo"`
}

type ec2Region struct {
	RegionName     string
	RegionEndpoint string
	OptInStatus    string
}

// describeRegions knows the account's one region; others are opted out of.
func (c *Cloud) describeRegions(in *describeRegionsInput) (*describeRegionsOutput, error) {
	for _, n := range in.RegionNames {
		if n != c.cfg.Region {
			return nil, failf("InvalidParameterValue", "Invalid region(s): [%s]", n)
		}
	}
	r := ec2Region{RegionName: c.cfg.Region, RegionEndpoint: "ec2." + c.cfg.Region + ".amazonaws.com", OptInStatus: "opt-in-not-required"}
	match, err := matchEC2(in.Filters, fields[ec2Region]{
		"region-name":   func(r ec2Region) []string { return []string{r.RegionName} },
		"endpoint":      func(r ec2Region) []string { return []string{r.RegionEndpoint} },
		"opt-in-status": func(r ec2Region) []string { return []string{r.OptInStatus} },
	}, nil)
	switch {
	case err != nil:
		return nil, err
	case in.DryRun:
		return nil, errDryRun
	case !match(r):
		return &describeRegionsOutput{Regions: []ec2Region{}}, nil
	}
	return &describeRegionsOutput{Regions: []ec2Region{r}}, nil
}

type describeZonesInput struct {
	ZoneNames            []string `q:"ZoneName"`
	ZoneIDs              []string `q:"ZoneId"`
	Filters              []Filter `q:"Filter"`
	AllAvailabilityZones bool
	DryRun               bool
}

type describeZonesOutput struct {
	Zones []ec2Zone `x:"availabilityZoneInfo"`
}

type ec2Zone struct {
	ZoneName           string
	State              string `x:"zoneState"`
	RegionName         string
	Messages           []struct{} `x:"messageSet"`
	OptInStatus        string
	ZoneID             string `x:"zoneId"`
	GroupName          string
	NetworkBorderGroup string
	ZoneType           string
}

func (c *Cloud) describeAvailabilityZones(in *describeZonesInput) (*describeZonesOutput, error) {
	var all []ec2Zone
	short := strings.NewReplacer("central", "c", "north", "n", "south", "s", "east", "e", "west", "w", "-", "").Replace(c.cfg.Region)
	for i, z := range c.cfg.Zones {
		all = append(all, ec2Zone{
			ZoneName: z, State: "available", RegionName: c.cfg.Region, Messages: []struct{}{}, OptInStatus: "opt-in-not-required",
			ZoneID: short + "-az" + strconv.Itoa(i+1), GroupName: c.cfg.Region, NetworkBorderGroup: c.cfg.Region, ZoneType: "availability-zone",
		})
	}
	for _, n := range in.ZoneNames {
		if c.zoneIndex(n) < 0 {
			return nil, failf("InvalidParameterValue", "Invalid availability zone: [%s]", n)
		}
	}
	for _, n := range in.ZoneIDs {
		if !slices.ContainsFunc(all, func(z ec2Zone) bool { return z.ZoneID == n }) {
			return nil, failf("InvalidParameterValue", "Invalid availability zone-id: [%s]", n)
		}
	}
	match, err := matchEC2(in.Filters, fields[ec2Zone]{
		"zone-name":     func(z ec2Zone) []string { return []string{z.ZoneName} },
		"zone-id":       func(z ec2Zone) []string { return []string{z.ZoneID} },
		"zone-type":     func(z ec2Zone) []string { return []string{z.ZoneType} },
		"region-name":   func(z ec2Zone) []string { return []string{z.RegionName} },
		"state":         func(z ec2Zone) []string { return []string{z.State} },
		"opt-in-status": func(z ec2Zone) []string { return []string{z.OptInStatus} },
	}, nil)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun
	}
	out := &describeZonesOutput{Zones: []ec2Zone{}}
	for _, z := range all {
		named := len(in.ZoneNames) == 0 || slices.Contains(in.ZoneNames, z.ZoneName)
		if named && (len(in.ZoneIDs) == 0 || slices.Contains(in.ZoneIDs, z.ZoneID)) && match(z) {
			out.Zones = append(out.Zones, z)
		}
	}
	return out, nil
}
