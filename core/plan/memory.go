package plan

// Memory is what a rotation that is taken up again remembers of its earlier
// runs, beside what the cluster and the provider show. The zero value
// remembers nothing.
type Memory struct {
	// Planned are the instances, by group name, that the rotation set out to
	// replace. Reasons that would hold for any instance (force, age) count for
	// these alone: the replacements are not replaced again.
	Planned map[string]map[string]bool
	// Quarantined are the instances that an earlier run could not replace: they
	// go last.
	Quarantined map[string]bool
	// Staged are the groups, by name, whose release an earlier run staged.
	Staged map[string]bool
}
