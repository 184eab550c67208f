package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rotatord/rotator/sandbox/control"
)

// faults are the sandbox's own, which last, beside those of the cloud, which
// strike. It serves both as one control.Backend.
type faults struct {
	control.Backend // the cloud
	network         network
	server          server
	kubelets        kubelets

	mu     sync.Mutex
	next   int
	list   []*lasting
	closed bool
}

// network is the way from the kubeconfig's users to the API server.
type network interface {
	Refuse(on bool) error
	Hold(on bool)
}

// server is the API server. Both calls may be repeated.
type server interface {
	StopAPIServer() error
	StartAPIServer(ctx context.Context) error
}

// kubelets are those of all nodes.
type kubelets interface {
	Silence(ctx context.Context, node string) (providerID string, err error)
	Wake(ctx context.Context, node, providerID string) error
}

// lasting is one fault that lasts, or that has lasted.
type lasting struct {
	control.Fault
	providerID string // of a node that is dead
	timer      *time.Timer
}

// lastingPrefix begins the ids of faults that last; the cloud's begin otherwise.
const lastingPrefix = "lasting-"

// maxOver bounds the faults that are kept to be listed once they are over.
const maxOver = 100

// callTimeout bounds what a fault asks of the API server, which is on this machine.
const callTimeout = 30 * time.Second

// restartTimeout bounds the start of the API server, which takes seconds.
const restartTimeout = 2 * time.Minute

var _ control.Backend = (*faults)(nil)

func newFaults(cloud control.Backend, n network, s server, k kubelets) *faults {
	return &faults{Backend: cloud, network: n, server: s, kubelets: k}
}

// AddFault implements control.Backend.
func (s *faults) AddFault(f control.Fault) (control.Fault, error) {
	if err := f.Validate(); err != nil {
		return control.Fault{}, err
	}
	if !f.Kind.Lasts() {
		return s.Backend.AddFault(f)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return control.Fault{}, errors.New("the sandbox is ending")
	}
	s.next++
	f.ID, f.Struck, f.Over = fmt.Sprintf("%s%d", lastingPrefix, s.next), 1, false
	l := &lasting{Fault: f}
	if f.Kind == control.NodeDead {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		var err error
		if l.providerID, err = s.kubelets.Silence(ctx, f.Node); err != nil {
			return control.Fault{}, err
		}
	}
	s.list = append(s.list, l)
	if err := s.enforce(); err != nil {
		return control.Fault{}, err
	}
	if f.For > 0 {
		l.timer = time.AfterFunc(time.Duration(f.For), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			// Nobody waits for the answer; whoever needs the API server will tell.
			if !s.closed {
				_ = s.end(l)
			}
		})
	}
	return f, nil
}

// enforce makes network and API server what the faults in force demand. It needs mu.
func (s *faults) enforce() error {
	force := func(k control.Kind) bool {
		return slices.ContainsFunc(s.list, func(l *lasting) bool { return l.Kind == k && !l.Over })
	}
	s.network.Hold(force(control.APIBlackhole))
	err := s.network.Refuse(force(control.APICut))
	if force(control.APIRestart) {
		return errors.Join(err, s.server.StopAPIServer())
	}
	ctx, cancel := context.WithTimeout(context.Background(), restartTimeout)
	defer cancel()
	return errors.Join(err, s.server.StartAPIServer(ctx))
}

// end needs mu.
func (s *faults) end(l *lasting) error {
	if l.Over {
		return nil
	}
	l.Over = true
	if l.timer != nil {
		l.timer.Stop()
	}
	err := s.enforce()
	stillDead := slices.ContainsFunc(s.list, func(o *lasting) bool { return !o.Over && o.providerID == l.providerID })
	if l.Kind == control.NodeDead && !stillDead {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		err = errors.Join(err, s.kubelets.Wake(ctx, l.Node, l.providerID))
	}
	over := 0
	for _, o := range s.list {
		if o.Over {
			over++
		}
	}
	s.list = slices.DeleteFunc(s.list, func(o *lasting) bool { // the oldest go
		if o.Over && over > maxOver {
			over--
			return true
		}
		return false
	})
	return err
}

// Faults implements control.Backend.
func (s *faults) Faults() []control.Fault {
	out := s.Backend.Faults()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.list {
		out = append(out, l.Fault)
	}
	return out
}

// ClearFaults implements control.Backend. What lasts ends at once.
func (s *faults) ClearFaults(id string) error {
	if id != "" && !strings.HasPrefix(id, lastingPrefix) {
		return s.Backend.ClearFaults(id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if id != "" {
		i := slices.IndexFunc(s.list, func(l *lasting) bool { return l.ID == id })
		if i < 0 {
			return fmt.Errorf("there is no fault %q: list them with `sandbox fault list`", id)
		}
		l := s.list[i]
		err := s.end(l)
		s.list = slices.DeleteFunc(s.list, func(o *lasting) bool { return o == l })
		return err
	}
	err := s.Backend.ClearFaults("")
	for _, l := range slices.Clone(s.list) {
		err = errors.Join(err, s.end(l))
	}
	s.list = nil
	return err
}

// close stops the clocks: what they would undo ends with the sandbox.
func (s *faults) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.list {
		if l.timer != nil {
			l.timer.Stop()
		}
	}
}
