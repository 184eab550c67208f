package contract

import (
	"strings"
	"testing"
)

// The simulator keeps the contract. The end-to-end tests hold the real API
// server and its controllers to it.
func TestSimulator(t *testing.T) { Run(t, &Simulator{}) }

// Random scenes are what they are meant to be: budgets that allow and that do
// not, that count and that are not counted, evictions of every answer.
func TestRandom(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(300) {
		sc := Simulated(t, seed)
		for _, word := range []string{" 0 allowed", " 1 allowed", " 2 allowed", "not observed"} {
			if strings.Contains(sc.Statuses[0], word) {
				seen[word]++
			}
		}
		for _, a := range sc.Answers {
			_, answer, _ := strings.Cut(a, ": ")
			seen[strings.Fields(a)[0]+" "+answer]++
		}
	}
	for _, want := range []string{" 0 allowed", " 1 allowed", " 2 allowed", "not observed",
		"evict ok", "evict blocked", "evict multi-budget", "delete ok", "unready ok"} {
		if seen[want] < 5 {
			t.Errorf("%q came up %d times in 300 scenes: %v", want, seen[want], seen)
		}
	}
}
