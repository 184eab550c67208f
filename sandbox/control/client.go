package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client speaks to the control endpoint of a running sandbox. The zero value is not usable; see [NewClient].
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client for the address that `sandbox up` prints as SANDBOX_URL (http://127.0.0.1:PORT/_sandbox).
func NewClient(baseURL string) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("sandbox address %q is not an http URL: give the SANDBOX_URL that `sandbox up` printed", baseURL)
	}
	return &Client{base: strings.TrimSuffix(baseURL, "/"), http: &http.Client{Timeout: time.Minute}}, nil
}

// AddFault adds a fault and answers it with its id.
func (c *Client) AddFault(ctx context.Context, f Fault) (Fault, error) {
	var out Fault
	err := c.Do(ctx, http.MethodPost, "/faults", f, &out)
	return out, err
}

// Faults lists the faults, used up ones included.
func (c *Client) Faults(ctx context.Context) ([]Fault, error) {
	var out []Fault
	err := c.Do(ctx, http.MethodGet, "/faults", nil, &out)
	return out, err
}

// ClearFaults removes the fault with the id, or all for "". What a fault did to a machine stays done.
func (c *Client) ClearFaults(ctx context.Context, id string) error {
	path := "/faults"
	if id != "" {
		path += "/" + url.PathEscape(id)
	}
	return c.Do(ctx, http.MethodDelete, path, nil, nil)
}

// Stats reads the call counters; with reset they start again in the same moment.
func (c *Client) Stats(ctx context.Context, reset bool) (Stats, error) {
	var out Stats
	if reset {
		err := c.Do(ctx, http.MethodPost, "/stats/reset", struct{}{}, &out)
		return out, err
	}
	err := c.Do(ctx, http.MethodGet, "/stats", nil, &out)
	return out, err
}

// PublishImage makes a new machine image the desired one. Each call makes another image.
func (c *Client) PublishImage(ctx context.Context, r PublishImageRequest) (PublishedImage, error) {
	var out PublishedImage
	err := c.Do(ctx, http.MethodPost, "/images", r, &out)
	return out, err
}

// PublishRelease makes a new release of EKS' node images the recommended one.
func (c *Client) PublishRelease(ctx context.Context, r PublishReleaseRequest) ([]PublishedRelease, error) {
	var out []PublishedRelease
	err := c.Do(ctx, http.MethodPost, "/releases", r, &out)
	return out, err
}

// SeedInstanceRefresh makes a group show an instance refresh.
func (c *Client) SeedInstanceRefresh(ctx context.Context, r InstanceRefreshRequest) error {
	return c.Do(ctx, http.MethodPost, "/instance-refreshes", r, nil)
}

// SeedWarmPool makes a group show a warm pool.
func (c *Client) SeedWarmPool(ctx context.Context, r WarmPoolRequest) error {
	return c.Do(ctx, http.MethodPost, "/warm-pools", r, nil)
}

// Do sends one request to path below the sandbox's address: in as JSON when not nil, the answer into out when not nil.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("sandbox: write the request %s %s: %w", method, path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return fmt.Errorf("sandbox: %s %s: %w", method, path, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("sandbox: is it running? %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		var e errorBody
		if err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&e); err != nil || e.Error == "" {
			return fmt.Errorf("sandbox: %s %s answered %s: is this the sandbox's address?", method, path, resp.Status)
		}
		return errors.New(e.Error)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("sandbox: read the answer of %s %s: %w", method, path, err)
	}
	return nil
}
