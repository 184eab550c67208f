package ekstest

import (
	"bytes"
	"io"
	"net/http"
)

// whole is a request's body, read once and passed on.
type whole struct{ text []byte }

func readAll(r *http.Request) (whole, error) {
	b, err := io.ReadAll(r.Body)
	return whole{b}, err
}

func (w whole) reader() io.ReadCloser { return io.NopCloser(bytes.NewReader(w.text)) }

func copyTo(w io.Writer, r *http.Response) (int64, error) { return io.Copy(w, r.Body) }
