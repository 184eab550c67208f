package runtime

import (
	"context"
	"slices"
	"testing"

	"github.com/rotatord/rotator/core/engine"
)

// A node that must not be found by its successor goes BEFORE the instance: where
// it cannot be deleted, the provider is not called.
func TestTerminateDeletesTheNodeFirst(t *testing.T) {
	for _, tc := range []struct {
		name   string
		uid    string
		refuse error
		want   []string
		code   engine.ErrorCode
	}{
		{name: "node, then instance", uid: "u1", want: []string{"n1/u1", "i1"}},
		{name: "no node", want: []string{"i1"}},
		{name: "the node stays", uid: "u1", refuse: &engine.Error{Code: engine.ErrPermanent, Message: "may not"}, want: []string{"n1/u1"}, code: engine.ErrPermanent},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake()
			f.deleteNode = tc.refuse
			var order []string
			f.do = func(_ context.Context, e engine.Effect) error {
				f.mu.Lock()
				defer f.mu.Unlock()
				order = append(slices.Clone(f.forgotten), e.InstanceID)
				return nil
			}
			x := newExecutor(t.Context(), Options{Provider: f, Cluster: f, ProviderTimeout: clusterTimeout})
			res := x.run(engine.Effect{ID: "op", Verb: engine.VerbTerminate, InstanceID: "i1", Node: "n1", NodeUID: tc.uid})
			if order == nil {
				order = f.forgotten
			}
			if !slices.Equal(order, tc.want) {
				t.Errorf("called %v, want %v", order, tc.want)
			}
			var code engine.ErrorCode
			if res.outcome.Err != nil {
				code = res.outcome.Err.Code
			}
			if code != tc.code {
				t.Errorf("it ends with %q, want %q", code, tc.code)
			}
		})
	}
}
