package eks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// prepareRecord is the tag rotatord.github.io/prepared: which rotation holds a
// group, and the settings that Prepare found:
//
//	rotation=r-1 azrebalance=running protect=false protected=2
//
// The instances that were protected from scale-in one by one stand in tags of
// their own, since a tag's value holds only a dozen ids.
type prepareRecord struct {
	Rotation string
	// Suspended: somebody had suspended AZRebalance, and so it stays.
	Suspended bool
	// Protect is the group's own NewInstancesProtectedFromScaleIn.
	Protect bool
	// Protected are the instances that were protected; recorded only when Protect
	// is false, since else nothing is unprotected afterwards.
	Protected []string
}

const (
	// protectedPerTag ids of 19 characters and a space fit a tag's value.
	protectedPerTag = maxTagValue / 20
	// maxProtectedTags leaves room among the 50 tags that a group may have.
	maxProtectedTags = 20
	maxProtected     = protectedPerTag * maxProtectedTags
)

// tags returns the record as tags. They are written by one call, all or none.
func (p *prepareRecord) tags() map[string]string {
	var f fields
	f.add("rotation", p.Rotation)
	f.add("azrebalance", map[bool]string{false: "running", true: "suspended"}[p.Suspended])
	f.add("protect", strconv.FormatBool(p.Protect))
	f.addInt("protected", len(p.Protected))
	tags := map[string]string{tagPrepared: f.b.String()}
	for i, ids := range slices.Collect(slices.Chunk(p.Protected, protectedPerTag)) {
		tags[tagProtected+strconv.Itoa(i)] = strings.Join(ids, " ")
	}
	return tags
}

// parsePrepareRecord reads the record from a group's tags; nil: there is none.
func parsePrepareRecord(tags map[string]string) (*prepareRecord, error) {
	value, ok := tags[tagPrepared]
	if !ok {
		return nil, nil
	}
	r := read(value)
	p := &prepareRecord{
		Rotation:  r.word("rotation"),
		Suspended: r.word("azrebalance", "running", "suspended") == "suspended",
		Protect:   r.word("protect", "true", "false") == "true",
	}
	n := r.number("protected")
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("tag %s: %w", tagPrepared, err)
	}
	for i := range maxProtectedTags {
		p.Protected = append(p.Protected, strings.Fields(tags[tagProtected+strconv.Itoa(i)])...)
	}
	if len(p.Protected) != n {
		return nil, fmt.Errorf("tags %s*: they list %d instances, and %s says %d", tagProtected, len(p.Protected), tagPrepared, n)
	}
	return p, nil
}
