package core

import (
	"testing"

	"github.com/rotatord/rotator/core/plan"
)

// Without the API server the journal's folder is all there is to read: nothing is
// connected to, and nobody is known to hold a lock.
func TestOpenStateCloudOnly(t *testing.T) {
	spec := plan.Spec{CloudOnly: true}
	spec.Kube.Kubeconfig = "/nonexistent"
	spec.Journal.Store, spec.Journal.Dir = plan.StoreFolder, t.TempDir()
	s, err := OpenState(t.Context(), Options{Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if h, err := s.Holder(t.Context()); h != nil || err != nil {
		t.Errorf("the lock's holder: %+v, %v", h, err)
	}
	if s.Journals() == nil {
		t.Error("no journals")
	}
	spec.CloudOnly = false
	if _, err := OpenState(t.Context(), Options{Spec: spec}); err == nil {
		t.Error("with the API server, a kubeconfig that is not there is no error")
	}
}
