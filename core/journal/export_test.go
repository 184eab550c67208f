package journal

// NewMemory is the API server that these tests use.
func NewMemory() Objects { return newMemory() }
