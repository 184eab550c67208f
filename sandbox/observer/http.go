package observer

import (
	"encoding/json"
	"net/http"
)

// Handler serves the verdict as JSON: GET /verify reads it, POST /verify/reset
// begins a new judgement.
func (o *Observer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /verify", func(w http.ResponseWriter, r *http.Request) {
		v, err := o.Verdict(r.Context())
		if err != nil {
			fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // what fails now is the connection
	})
	mux.HandleFunc("POST /verify/reset", func(w http.ResponseWriter, _ *http.Request) {
		if err := o.Reset(); err != nil {
			fail(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// fail answers in the shape that the control endpoint's client reads.
func fail(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusInternalServerError)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
