package eks

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

// updatesLooked bounds how many updates one search describes, one a call. What has
// ended is remembered, so that the next search goes on with the others.
const updatesLooked = 200

// updateCache remembers updates that have ended: they do not change any more. Its
// zero value is empty.
type updateCache struct {
	mu   sync.Mutex
	over map[string]ekstypes.Update // by id
	// found is, by node group, the update that the latest search returned while it
	// was in flight.
	found map[string]string
}

// reset forgets everything.
func (k *updateCache) reset() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.over, k.found = nil, nil
}

// ended returns what is remembered of an update that has ended.
func (k *updateCache) ended(id string) (ekstypes.Update, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	u, ok := k.over[id]
	return u, ok
}

// read reads an update of a node group; nil: EKS does not know it (any more).
func (k *updateCache) read(ctx context.Context, client *eks.Client, m *managed, id string) (*ekstypes.Update, error) {
	if known, ok := k.ended(id); ok {
		return &known, nil
	}
	out, err := client.DescribeUpdate(ctx, &eks.DescribeUpdateInput{Name: m.ClusterName, NodegroupName: m.NodegroupName, UpdateId: &id})
	if notFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, statusOf("eks:DescribeUpdate", m.name, err)
	}
	if over(out.Update) {
		k.mu.Lock()
		if k.over == nil {
			k.over = map[string]ekstypes.Update{}
		}
		k.over[id] = *out.Update
		k.mu.Unlock()
	}
	return out.Update, nil
}

// find returns the newest update of a node group that fits. Nil: there is none;
// or not among those looked at so far, and the next search goes on.
//
// EKS lists ids alone, and documents no order of them. Of a node group it runs one
// update at a time, so one in flight is the newest; it is asked about first from
// then on, which saves the list.
func (k *updateCache) find(ctx context.Context, client *eks.Client, m *managed, fits func(*ekstypes.Update) bool) (*ekstypes.Update, error) {
	k.mu.Lock()
	last := k.found[m.name]
	k.mu.Unlock()
	if last != "" {
		if u, err := k.read(ctx, client, m, last); err != nil || u != nil && !over(u) && fits(u) {
			return u, err
		}
	}
	ids, err := listUpdates(ctx, client, m)
	if err != nil {
		return nil, err
	}
	var newest *ekstypes.Update
	asked := 0
	for _, id := range fromBothEnds(ids) {
		if _, known := k.ended(id); !known {
			if asked == updatesLooked {
				return nil, nil // a newer one may be among the rest
			}
			asked++
		}
		u, err := k.read(ctx, client, m, id)
		switch {
		case err != nil:
			return nil, err
		case u == nil || !fits(u):
		case !over(u):
			k.mu.Lock()
			if k.found == nil {
				k.found = map[string]string{}
			}
			k.found[m.name] = id
			k.mu.Unlock()
			return u, nil
		case newest == nil || aws.ToTime(newest.CreatedAt).Before(aws.ToTime(u.CreatedAt)):
			newest = u
		}
	}
	return newest, nil
}

// fromBothEnds reorders ids so that the newest come early, whichever way they are
// sorted by age.
func fromBothEnds(ids []string) []string {
	out := make([]string, 0, len(ids))
	for i, j := 0, len(ids)-1; i <= j; i, j = i+1, j-1 {
		if out = append(out, ids[j]); i < j {
			out = append(out, ids[i])
		}
	}
	return out
}

func listUpdates(ctx context.Context, client *eks.Client, m *managed) ([]string, error) {
	in := &eks.ListUpdatesInput{Name: m.ClusterName, NodegroupName: m.NodegroupName}
	var ids []string
	for range maxPages {
		out, err := client.ListUpdates(ctx, in)
		if err != nil {
			return nil, statusOf("eks:ListUpdates", m.name, err)
		}
		ids = append(ids, out.UpdateIds...)
		if aws.ToString(out.NextToken) == "" {
			return ids, nil
		}
		in.NextToken = out.NextToken
	}
	return nil, sdk.Errorf(codes.ResourceExhausted, "eks:ListUpdates: more than %d pages of updates of node group %s", maxPages, m.name)
}
