package kube

import (
	"context"
	"net/http"
	"time"
)

// helperTimeout bounds the first call where the kubeconfig names a credential
// helper: a person may have to sign in.
const helperTimeout = time.Minute

// punctual ends a call with its context also where the kubeconfig's credential
// helper does not end. client-go runs that without a deadline, so that one which
// hangs would hold up evictions and the renewal of the lock for good. What is left
// waits until the helper ends; no more come than there are calls meanwhile, and
// those end with the lock.
type punctual struct{ next http.RoundTripper }

// RoundTrip passes the request on.
func (p punctual) RoundTrip(r *http.Request) (*http.Response, error) {
	type end struct {
		answer *http.Response
		err    error
	}
	ended := make(chan end, 1)
	go func() {
		answer, err := p.next.RoundTrip(r) //nolint:bodyclose // the caller does, or the last case below
		ended <- end{answer, err}
	}()
	select {
	case e := <-ended:
		return e.answer, e.err
	case <-r.Context().Done():
		go func() {
			if e := <-ended; e.err == nil {
				_ = e.answer.Body.Close() // nobody reads it
			}
		}()
		return nil, context.Cause(r.Context())
	}
}
