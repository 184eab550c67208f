// Package observer judges a rotation from outside: it watches all disruption
// budgets and pods, independently of rotatord, and reads the API server's audit
// log. Its verdict says whether a budget was ever violated, and whether a pod
// was deleted other than by eviction.
//
// What counts as a violation. A budget demands a number of healthy pods, which
// is computed here from its spec as the disruption controller computes it. A pod
// is healthy when it is Ready and not being deleted. From the moment a budget is
// first met it is armed, and from then on fewer healthy pods than demanded, at
// any event of any pod, are a violation, whatever the cause: the verdict names
// the pod and what became of it. The eviction API allows an eviction only while
// the budget has room, so evictions alone can never cause one.
//
// Two things disarm a budget until it is met again: its demand rises (somebody
// scaled the workload up, or changed the budget), and it demands nothing. What
// happened before the watch saw it is unknown. The watch sees every change of
// every pod in order; only after a broken connection may changes that lay
// between have been seen as one. Pods and workloads come over watches of their
// own: when somebody scales a workload down, its pods' end may be seen before
// the new scale, as a violation of a few milliseconds.
package observer
