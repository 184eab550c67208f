package plan

import (
	"errors"
	"time"
)

// Complete tells what a Spec that was made by hand lacks: bounds without which
// a rotation would give up at once. Package config sets them all; nil: nothing
// is missing.
func (s Spec) Complete() error {
	var missing []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"Drain.Deadline", s.Drain.Deadline},
		{"Gates.NodeReady.Timeout", s.Gates.NodeReady.Timeout},
	} {
		if d.value <= 0 {
			missing = append(missing, errors.New("plan.Spec."+d.name+" must be positive: begin with config.Default()"))
		}
	}
	if s.Gates.Workloads.Enabled && s.Gates.Workloads.Timeout <= 0 {
		missing = append(missing, errors.New("plan.Spec.Gates.Workloads.Timeout must be positive: begin with config.Default()"))
	}
	if s.Gates.KopsValidate.Enabled && s.Gates.KopsValidate.Timeout <= 0 {
		missing = append(missing, errors.New("plan.Spec.Gates.KopsValidate.Timeout must be positive: begin with config.Default()"))
	}
	if s.CloudOnly && s.Journal.Store != StoreFolder {
		missing = append(missing, errors.New("plan.Spec.Journal.Store must be a folder with CloudOnly: there is no cluster to keep it in"))
	}
	return errors.Join(missing...)
}
