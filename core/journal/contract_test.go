package journal_test

import (
	"testing"

	"github.com/rotatord/rotator/core/journal"
	"github.com/rotatord/rotator/core/sim/contract"
)

// The API server in memory that the tests of the journal use keeps the contract
// that the real one keeps.
func TestMemoryKeepsTheContract(t *testing.T) {
	contract.Objects(t, func(testing.TB) journal.Objects { return journal.NewMemory() })
}
