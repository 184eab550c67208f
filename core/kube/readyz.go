package kube

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/engine"
)

// readyzTimeout bounds one question: an API server that needs longer is not
// ready, and the engine asks again.
const readyzTimeout = 10 * time.Second

// CheckAPI asks /readyz of whichever API server answers. Every client that can
// authenticate may (the ClusterRole system:public-info-viewer), unless an
// administrator took that away. The error names the checks that fail.
func (c *Cluster) CheckAPI(ctx context.Context) error {
	ctx, cancel := c.call(ctx, readyzTimeout)
	defer cancel()
	body, err := c.core.Get().AbsPath("/readyz").Param("verbose", "").DoRaw(ctx)
	if err == nil {
		return nil
	}
	if failing := failingChecks(string(body)); failing != "" {
		return &engine.Error{Code: engine.ErrTransient, Message: fmt.Sprintf("/readyz: %s", failing)}
	}
	return classify(err, "the API server", "get /readyz")
}

// failingChecks are those that a verbose answer marks with [-], at most five.
func failingChecks(answer string) string {
	var out []string
	for line := range strings.Lines(answer) {
		if name, ok := strings.CutPrefix(line, "[-]"); ok && len(out) < 5 {
			name, _, _ = strings.Cut(name, " ")
			out = append(out, strings.TrimSpace(name)+" fails")
		}
	}
	return strings.Join(out, ", ")
}
