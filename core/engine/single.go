package engine

import (
	"fmt"

	"github.com/rotatord/rotator/core/model"
)

func (p *WorkloadPatch) data(k model.WorkloadKey) map[string]string {
	d := map[string]string{"workload": k.String()}
	switch {
	case p.Restart != "":
		d["restarted-at"] = p.Restart
	case p.Surge:
		d["replicas"], d["replicas-before"] = fmt.Sprint(p.Replicas+1), fmt.Sprint(p.Replicas)
	case p.GiveBack:
		d["give-back"] = "true"
	}
	return d
}
