package control

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// maxBody bounds a request's body; the largest request, a fault, is a few hundred bytes.
const maxBody = 64 << 10

// errorBody is every answer that is not 2xx.
type errorBody struct {
	Error string `json:"error"`
}

// NewHandler serves the control endpoint. Paths are relative: mount it with http.StripPrefix.
//
//	GET    /faults            the faults that are active or used up
//	POST   /faults            add one
//	DELETE /faults            clear all; DELETE /faults/ID one
//	GET    /stats             the call counters; POST /stats/reset reads and resets them
//	POST   /images            publish a new machine image
//	POST   /releases          publish a release of EKS' node images
//	POST   /instance-refreshes, POST /warm-pools   seed what DescribeInstanceRefreshes and DescribeWarmPool show
func NewHandler(b Backend) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { Write(w, http.StatusOK, b.Faults()) })
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		serve(w, r, b.AddFault)
	})
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) { finish(w, struct{}{}, b.ClearFaults("")) })
	mux.HandleFunc("DELETE /faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		finish(w, struct{}{}, b.ClearFaults(r.PathValue("id")))
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { Write(w, http.StatusOK, b.Stats(false)) })
	mux.HandleFunc("POST /stats/reset", func(w http.ResponseWriter, _ *http.Request) { Write(w, http.StatusOK, b.Stats(true)) })
	mux.HandleFunc("POST /images", func(w http.ResponseWriter, r *http.Request) {
		serve(w, r, func(q PublishImageRequest) (PublishedImage, error) { return b.PublishImage(r.Context(), q) })
	})
	mux.HandleFunc("POST /releases", func(w http.ResponseWriter, r *http.Request) { serve(w, r, b.PublishRelease) })
	mux.HandleFunc("POST /instance-refreshes", func(w http.ResponseWriter, r *http.Request) {
		serve(w, r, func(q InstanceRefreshRequest) (struct{}, error) { return struct{}{}, b.SeedInstanceRefresh(q) })
	})
	mux.HandleFunc("POST /warm-pools", func(w http.ResponseWriter, r *http.Request) {
		serve(w, r, func(q WarmPoolRequest) (struct{}, error) { return struct{}{}, b.SeedWarmPool(q) })
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		Write(w, http.StatusNotFound, errorBody{Error: fmt.Sprintf("no %s %s on the sandbox's control endpoint", r.Method, r.URL.Path)})
	})
	return mux
}

func serve[In, Out any](w http.ResponseWriter, r *http.Request, f func(In) (Out, error)) {
	var in In
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		Write(w, http.StatusBadRequest, errorBody{Error: fmt.Sprintf("read the body of %s %s: %v", r.Method, r.URL.Path, err)})
		return
	}
	out, err := f(in)
	finish(w, out, err)
}

func finish(w http.ResponseWriter, out any, err error) {
	if err != nil {
		Write(w, http.StatusBadRequest, errorBody{Error: err.Error()})
		return
	}
	Write(w, http.StatusOK, out)
}

// Write answers v as JSON; others that serve paths beside this handler's use it so that [Client.Do] reads them alike.
// An error answer is {"error": "message"}.
func Write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may have gone; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(v)
}
