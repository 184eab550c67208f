// Package conformance tests a driver against the rules of the driver protocol,
// over the wire and without knowledge of its provider. The author of a driver
// runs it in a test of their own:
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, conformance.Config{
//			New:     func() sdk.Driver { return &Driver{} },
//			Config:  func(t *testing.T) string { return newFakeProvider(t) },
//			Cluster: "prod",
//			Group:   "workers",
//		})
//	}
//
// It runs against a driver in memory (Config.New) or against an executable
// (Config.Command), in any language. Each test gets a provider of its own from
// Config.Config, so that tests may change it.
package conformance

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Config says what to test.
type Config struct {
	// New returns a driver that has just been started: what it shares with
	// another one lives at the provider. Exclusive with Command.
	New func() sdk.Driver
	// Command is a driver's executable and its arguments, Env its environment
	// ("NAME=value"). Exclusive with New.
	Command []string
	Env     []string

	// Config sets up a provider for one test and returns the driver's
	// configuration for it, as JSON. The provider must keep its state when a
	// driver ends, and may go with the test.
	Config func(t *testing.T) string
	// Cluster is the name of the provider's cluster.
	Cluster string
	// Group is the id of a group that the tests may change, terminate an instance
	// of it included. Each verb that its traits offer is tested. It must have at
	// least one instance in service, room for one more (and an outdated one where
	// its provider rolls it), and nobody else who changes it. Empty: only what
	// changes nothing is tested.
	Group string

	// Timeout bounds how long the provider may take to launch or to end an
	// instance; 0: a minute.
	Timeout time.Duration
	// Virtual runs each test in a testing/synctest bubble, where time passes at
	// once: for drivers in memory (New) with a provider that goes by time.Now and
	// neither does real I/O over a network nor blocks on anything outside.
	Virtual bool
}

const (
	defaultTimeout = time.Minute
	// looks at the provider, at most, within the timeout.
	looks = 600
)

// Run runs all tests as subtests of t.
func Run(t *testing.T, c Config) {
	t.Helper()
	if err := c.check(); err != nil {
		t.Fatal("conformance: ", err)
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	for _, tt := range tests {
		if tt.changes && c.Group == "" {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			run := func(t *testing.T) { tt.run(newSubject(t, c)) }
			if c.Virtual {
				synctest.Test(t, run)
			} else {
				run(t)
			}
		})
	}
}

func (c Config) check() error {
	switch {
	case (c.New == nil) == (len(c.Command) == 0):
		return errors.New("set either New or Command")
	case c.Config == nil || c.Cluster == "":
		return errors.New("set Config and Cluster")
	case c.Virtual && c.New == nil:
		return errors.New("set New with Virtual: the clock of another process is real")
	}
	return nil
}

// tests in the order in which a reader of their output wants them: who the
// driver is, what it sees, what it changes.
var tests = []struct {
	name    string
	changes bool
	run     func(*subject)
}{
	{"info is complete and constant", false, testInfo},
	{"configure: what is wrong is refused", false, testConfigureRefuses},
	{"configure: validate_only configures nothing", false, testValidateOnly},
	{"a driver that is not configured refuses work", false, testNotConfigured},
	{"observe: a snapshot is whole", false, testSnapshot},
	{"observe: of one group", false, testSnapshotOfGroup},
	{"a verb that is not offered answers UNIMPLEMENTED", false, testUnimplemented},
	{"an incomplete request is refused", true, testIncomplete},
	{"a group that does not exist is NOT_FOUND", true, testNoSuchGroup},
	{"dry_run changes nothing", true, testDryRun},
	{"an op id stands for one body", true, testOpID},
	{"prepare holds the group, restore puts it back", true, testPrepare},
	{"prepare: another rotation is ABORTED", true, testPrepareHeld},
	{"set surge is absolute and never lowers", true, testSurge},
	{"terminate KEEP: repeated, and when gone", true, testTerminateKeep},
	{"terminate SHRINK: takes capacity once", true, testTerminateShrink},
	{"roll: one call is one roll, and is seen to its end", true, testRoll},
	{"quiesce: leaves the load balancers, and comes back", true, testQuiesce},
	{"quiesce: restore puts back what a killed driver took out", true, testQuiesceRestored},
	{"a killed driver's work goes on and is seen", true, testRestart},
	{"closing a connection cancels nothing", true, testClose},
}
