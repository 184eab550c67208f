package core

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/journal"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// takeUpWithin is how old an unfinished rotation may be for the same command to
// go on with it where nothing at the provider or on the nodes says that it
// must. An older one is history: --force then means all nodes once more.
const takeUpWithin = 24 * time.Hour

// takeUp finds what this run goes on with.
func (r *Rotator) takeUp(ctx context.Context, store journal.Store, now time.Time) (past, error) {
	if r.opts.FromCluster {
		return past{rotation: holder(r.inventory)}, nil
	}
	id, memory, err := takeUp(ctx, store, r.opts.Spec, r.inventory, now)
	return past{rotation: id, memory: memory}, err
}

// takeUp finds the rotation that this run goes on with, and what it remembers.
// Who holds the groups decides, then whose marks the nodes carry, then the
// newest rotation in the store that wanted the same and did not come to its
// end. An empty id: there is none. A store without the journal of a rotation
// that the world names gives an empty memory: marks and tags are enough.
func takeUp(ctx context.Context, store journal.Store, spec plan.Spec, inv model.Inventory, now time.Time) (string, engine.Memory, error) {
	id := holder(inv)
	if id == "" {
		return newestUnfinished(ctx, store, spec, now)
	}
	past, err := store.Read(ctx, id)
	if err != nil && !errors.Is(err, journal.ErrNoRotation) {
		return "", engine.Memory{}, fmt.Errorf("reading the journal of rotation %s: %w", id, err)
	}
	return id, engine.Restore(past), nil
}

// holder names the rotation that left something behind; empty: none did.
func holder(inv model.Inventory) string {
	for _, g := range inv.Groups {
		if g.HeldBy != "" {
			return g.HeldBy
		}
	}
	// The first by name, so that two looks agree.
	node, id := "", ""
	for i := range inv.Nodes {
		n := &inv.Nodes[i]
		if r := n.Annotations[model.AnnotationRotation]; r != "" && (node == "" || n.Name < node) {
			node, id = n.Name, r
		}
	}
	return id
}

func newestUnfinished(ctx context.Context, store journal.Store, spec plan.Spec, now time.Time) (string, engine.Memory, error) {
	entries, err := store.List(ctx)
	if err != nil {
		return "", engine.Memory{}, fmt.Errorf("listing the rotations of cluster %s: %w", spec.Cluster, err)
	}
	for _, entry := range entries {
		if entry.Cluster != "" && entry.Cluster != spec.Cluster || entry.Spec != "" && entry.Spec != fingerprint(spec) {
			continue // another rotation, or the drain of one node
		}
		if entry.Status == string(engine.StatusDone) || now.Sub(entry.Modified) > takeUpWithin {
			break // the newest has ended well, or is history
		}
		past, err := store.Read(ctx, entry.Rotation)
		if err != nil {
			return "", engine.Memory{}, fmt.Errorf("reading the journal of rotation %s: %w", entry.Rotation, err)
		}
		if m := engine.Restore(past); m.Spec == fingerprint(spec) {
			return entry.Rotation, m, nil
		}
		break
	}
	return "", engine.Memory{}, nil
}

// fingerprint tells whether two runs want the same: which cluster, which
// instances, for what reason. How fast, and where reports go, may differ.
func fingerprint(spec plan.Spec) string {
	b, err := json.Marshal(struct {
		Cluster string
		Driver  string
		Select  plan.Select
		Release string `json:",omitempty"`
	}{spec.Cluster, spec.Driver.Name, spec.Select, spec.Release})
	if err != nil {
		panic(err) // plain values only
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
