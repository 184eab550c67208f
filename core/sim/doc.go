// Package sim is a world in virtual time for the engine to rotate: node groups
// that launch and end instances, nodes, pods with the controllers that make
// them anew, a scheduler, PodDisruptionBudgets and the eviction API. Everything
// happens on one goroutine from a heap of timed events, so that a rotation of a
// thousand nodes takes less than a second and the same seed gives the same
// events, byte for byte.
//
// Run rotates one world that a seed describes: the very engine that production
// runs, its records kept in a journal in memory, its effects performed after
// random delays. Faults of many kinds are injected on the way, people and
// autoscalers interfere, and the process is killed and started again. After
// every Step and every act, invariants are checked by code that shares nothing
// with the engine (check.go). Shrink finds the fewest faults that break one.
//
// Chance is drawn by name and not from a stream (dice.go): to leave one fault
// out does not change the others, which is what makes shrinking work.
//
// Live lets the same world pass for runtime.Cluster and runtime.Provider, so
// that the concurrent runtime is tested against it.
//
// queue.go is time; world.go the objects; provider.go, surge.go and roll.go the cloud;
// pods.go controllers, scheduler and kubelets; budgets.go disruption; feed.go
// watches; calls.go what is asked of the world; people.go who interferes;
// rotation.go runs, kills and restarts the engine; shape.go makes worlds; scene.go
// makes those of package contract, which holds this world and a real cluster to
// the same rules.
package sim
