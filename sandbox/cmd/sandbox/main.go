// Command sandbox runs a real Kubernetes control plane and a simulated AWS on
// this machine, and steers and judges them while rotations run.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/sandbox/control"
)

func main() {
	if err := newCommand(os.Stdin, os.Stdout, os.Stderr).Execute(); err != nil {
		if !errors.Is(err, errJudged) {
			fmt.Fprintln(os.Stderr, "sandbox:", err)
		}
		os.Exit(1)
	}
}

func newCommand(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "sandbox",
		Short: "A real Kubernetes control plane and a simulated AWS on this machine",
		Long: `Sandbox runs etcd, kube-apiserver, kube-controller-manager and kube-scheduler
in one process, plays the kubelet of every node, and simulates the parts of AWS
that a rotation calls. All of it listens on loopback only, and is gone when it
ends.

  sandbox up --dir ./sb &           # prints one line "ready KEY=VALUE ..."
  source ./sb/env                   # KUBECONFIG, AWS_ENDPOINT_URL, SANDBOX_URL, ...
  kubectl get nodes; aws ec2 describe-instances
  sandbox publish-image             # makes every node outdated
  sandbox publish-release           # EKS recommends new node images
  sandbox fault add throttle --share 0.2
  sandbox verify                    # was a budget violated?`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newUp(), newPublishImage(), newPublishRelease(), newFault(), newStats(), newVerify())
	return root
}

// remote is what the commands share that speak to a running sandbox.
type remote struct{ url string }

func (r *remote) flag(c *cobra.Command) {
	c.PersistentFlags().StringVar(&r.url, "url", "", "address of the sandbox (default $SANDBOX_URL)")
}

func (r *remote) client() (*control.Client, error) {
	url := r.url
	if url == "" {
		url = os.Getenv("SANDBOX_URL")
	}
	if url == "" {
		return nil, errors.New("which sandbox? Set SANDBOX_URL (source DIR/env) or give --url")
	}
	return control.NewClient(url)
}
