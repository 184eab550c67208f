package engine

// Error makes Error an error.
func (e *Error) Error() string { return e.Message }
