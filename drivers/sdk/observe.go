package sdk

import (
	"errors"
	"fmt"

	"github.com/rotatord/rotator/drivers/sdk/proto"
)

// pageItems is how many groups, instances or diagnostics one page holds. An
// instance takes a few hundred bytes, so a page stays below half a MiB.
const pageItems = 1000

// pages turns a snapshot into the messages of an Observe stream, the end
// marker last. All are made before the first is sent, so that a snapshot that
// breaks the contract is an error and never half a list.
func pages(d Driver, s *Snapshot) ([]*proto.ObserveResponse, error) {
	if s == nil {
		return nil, errors.New("the driver answered no snapshot and no error")
	}
	if s.ObservedAt.IsZero() {
		return nil, errors.New("the snapshot does not say when the provider was asked")
	}
	b := pager{}
	ids, names := map[string]bool{}, map[string]bool{}
	for _, g := range s.Groups {
		switch {
		case g.ID == "" || g.Name == "":
			return nil, fmt.Errorf("group %q (name %q) lacks an id or a name", g.ID, g.Name)
		case ids[g.ID]:
			return nil, fmt.Errorf("group %s is in the snapshot twice", g.ID)
		case names[g.Name]:
			return nil, fmt.Errorf("two groups are called %s", g.Name)
		}
		ids[g.ID], names[g.Name] = true, true
		g.Traits = honest(d, g.Traits)
		p, err := groupToProto(g)
		if err != nil {
			return nil, fmt.Errorf("group %s: %w", g.ID, err)
		}
		page := b.room()
		page.Groups = append(page.Groups, p)
	}
	seen := make(map[string]bool, len(s.Instances))
	for _, i := range s.Instances {
		switch {
		case i.ID == "":
			return nil, fmt.Errorf("an instance of group %s has no id", i.GroupID)
		case seen[i.ID]:
			return nil, fmt.Errorf("instance %s is in the snapshot twice", i.ID)
		case !ids[i.GroupID]:
			return nil, fmt.Errorf("instance %s belongs to group %q, which is not in the snapshot", i.ID, i.GroupID)
		}
		seen[i.ID] = true
		p, err := instanceToProto(i)
		if err != nil {
			return nil, fmt.Errorf("instance %s: %w", i.ID, err)
		}
		page := b.room()
		page.Instances = append(page.Instances, p)
	}
	diagnostics, err := diagnosticsToProto(s.Diagnostics)
	if err != nil {
		return nil, err
	}
	for _, p := range diagnostics {
		page := b.room()
		page.Diagnostics = append(page.Diagnostics, p)
	}
	return append(b.out, &proto.ObserveResponse{Payload: &proto.ObserveResponse_End{End: &proto.SnapshotEnd{
		Groups: int32(len(s.Groups)), Instances: int32(len(s.Instances)), ObservedAt: stamp(s.ObservedAt),
	}}}), nil
}

// pager fills pages.
type pager struct {
	out  []*proto.ObserveResponse
	page *proto.SnapshotPage
	n    int
}

// room returns a page with room for one more item.
func (b *pager) room() *proto.SnapshotPage {
	if b.page == nil || b.n == pageItems {
		b.page, b.n = &proto.SnapshotPage{}, 0
		b.out = append(b.out, &proto.ObserveResponse{Payload: &proto.ObserveResponse_Page{Page: b.page}})
	}
	b.n++
	return b.page
}
