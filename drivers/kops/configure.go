package kops

import (
	"context"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Configure implements sdk.Driver. With validateOnly it checks raw against the
// schema and reads nothing. Else it finds the state store and looks whether it
// is there. The cloud is not known before the cluster is: its credentials are
// first used by Observe.
func (d *Driver) Configure(ctx context.Context, raw []byte, validateOnly bool) ([]sdk.Diagnostic, error) {
	quietStdout()
	cfg, diags := parseConfig(raw)
	if len(diags) > 0 || validateOnly {
		return diags, nil
	}
	url, diag := cfg.stateStore()
	if diag != nil {
		return []sdk.Diagnostic{*diag}, nil
	}
	s, diag := openStore(ctx, url, &d.calls)
	if diag != nil {
		return []sdk.Diagnostic{*diag}, nil
	}
	d.mu.Lock()
	d.cfg, d.store, d.clouds = cfg, s, nil
	d.mu.Unlock()
	d.view.reset()
	return nil, nil
}
