package main

import (
	"fmt"
	"strings"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/plan"
)

// maxSingles bounds the workloads that a plan names for a person; --output json
// has all of them.
const maxSingles = 10

// writeSingles says which workloads are moved without downtime, and how.
func writeSingles(b *strings.Builder, p *plan.Plan) {
	moved := 0
	for _, s := range p.Singles {
		if s.Way == drain.ByEviction {
			continue
		}
		if moved++; moved > maxSingles {
			continue
		}
		what := "by a rollout restart"
		if s.Way == drain.BySurge {
			what = "by a replica more for a while"
		}
		if s.Budget != "" {
			what += "; budget " + s.Budget + " allows no eviction"
		}
		fmt.Fprintf(b, "\n%s moves without downtime, %s", s.Workload, what)
	}
	if more := moved - maxSingles; more > 0 {
		fmt.Fprintf(b, "\n%d more move without downtime", more)
	}
	if moved > 0 {
		b.WriteString("\n")
	}
	if p.SurgedWorkloads > 0 {
		fmt.Fprintf(b, "\n%s left with an extra replica by an earlier run\n", are(p.SurgedWorkloads, "Deployment"))
	}
}
