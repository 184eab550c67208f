package model

import (
	"cmp"
	"time"
)

// Release is an image, or a release of one, as a person knows it.
type Release struct {
	ID         string    `json:"id"` // what can be staged
	Name       string    `json:"name,omitempty"`
	Created    time.Time `json:"created,omitzero"`     // zero: unknown
	Notes      string    `json:"notes,omitempty"`      // URL of its release notes
	Kubernetes string    `json:"kubernetes,omitempty"` // version of its kubelet, as 1.37
}

// String is the id, with the name where it says more.
func (r Release) String() string {
	if r.Name == "" || r.Name == r.ID {
		return cmp.Or(r.ID, "(unknown)")
	}
	return r.ID + " (" + r.Name + ")"
}

// ReleaseOrder says where a group's target stands, seen from its current release.
type ReleaseOrder string

// Orders. The zero value: there is no target.
const (
	ReleaseNone    ReleaseOrder = ""
	ReleaseSame    ReleaseOrder = "same"
	ReleaseNewer   ReleaseOrder = "newer"
	ReleaseOlder   ReleaseOrder = "older"   // a downgrade
	ReleaseUnknown ReleaseOrder = "unknown" // they cannot be compared
)

// GroupRelease compares a group with the release that was asked for.
type GroupRelease struct {
	GroupID string  `json:"groupID"`
	Group   string  `json:"group"` // its name
	Role    Role    `json:"role"`
	Current Release `json:"current"` // its desired revision
	// Target is what the release means for this group; nil: it cannot be had, and a
	// diagnostic of severity error says why.
	Target *Release     `json:"target"`
	Order  ReleaseOrder `json:"order"`
	// Diagnostics: one of severity error means that it cannot be staged.
	Diagnostics []Diagnostic `json:"-"`
}

// Error returns the first diagnostic of severity error; nil: the target can be
// staged.
func (g *GroupRelease) Error() *Diagnostic {
	for i := range g.Diagnostics {
		if g.Diagnostics[i].Severity == SeverityError {
			return &g.Diagnostics[i]
		}
	}
	return nil
}
