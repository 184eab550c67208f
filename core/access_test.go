package core_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotatord/rotator/core"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/host"
	"github.com/rotatord/rotator/core/kube"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// opening is a provider that counts how often it is asked for the way.
type opening struct {
	*host.Driver
	asked int
	err   error
}

func (o *opening) Access(context.Context) (model.Access, error) {
	o.asked++
	if o.err != nil {
		return model.Access{}, o.err
	}
	return model.Access{Endpoint: "https://127.0.0.1:1", Token: "t"}, nil // nothing listens there
}

// Who is asked for the way to the API server.
func TestAccess(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	cannot := &engine.Error{Code: engine.ErrUnsupported, Message: "Access is not offered"}
	for name, tt := range map[string]struct {
		access     plan.Access
		kubeconfig string
		err        error // of the driver
		asked      int
		want       kube.Code
	}{
		"auto, no kubeconfig":                        {access: plan.AccessAuto, asked: 1, want: kube.CodeUnreachable},
		"auto, no kubeconfig, driver cannot":         {access: plan.AccessAuto, err: cannot, asked: 1, want: kube.CodeKubeconfigMissing},
		"auto, the kubeconfig named is not there":    {access: plan.AccessAuto, kubeconfig: none, want: kube.CodeKubeconfigMissing},
		"kubeconfig, none":                           {access: plan.AccessKubeconfig, want: kube.CodeKubeconfigMissing},
		"driver":                                     {access: plan.AccessDriver, asked: 1, want: kube.CodeUnreachable},
		"driver, and a kubeconfig that is not there": {access: plan.AccessDriver, kubeconfig: none, asked: 1, want: kube.CodeUnreachable},
		"driver, which cannot":                       {access: plan.AccessDriver, err: cannot, asked: 1, want: kube.CodeAccess},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", none)
			t.Setenv("KUBERNETES_SERVICE_HOST", "")
			p := &opening{err: tt.err}
			spec := plan.Spec{Cluster: "prod", Kube: plan.Kube{Access: tt.access, Kubeconfig: tt.kubeconfig}}
			_, err := core.OpenState(t.Context(), core.Options{Spec: spec, Provider: p})
			var ke *kube.Error
			if !errors.As(err, &ke) || ke.Code != tt.want || p.asked != tt.asked {
				t.Errorf("asked %d times, error %v (want %s, asked %d times)", p.asked, err, tt.want, tt.asked)
			}
			if tt.err != nil && tt.want == kube.CodeAccess && !strings.Contains(err.Error(), tt.err.Error()) {
				t.Errorf("error %v does not say %v", err, tt.err)
			}
		})
	}
	spec := plan.Spec{Kube: plan.Kube{Access: plan.AccessDriver}}
	t.Setenv("KUBECONFIG", none)
	var ke *kube.Error
	if _, err := core.OpenState(t.Context(), core.Options{Spec: spec}); !errors.As(err, &ke) || !strings.Contains(ke.Fix, "--driver") {
		t.Errorf("without a driver: %v", err)
	}
}
