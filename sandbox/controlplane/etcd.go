package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcdAttempts bounds the starts of etcd, which opens its ports by number: each
// was free when asked for, and may be taken when it is opened.
const etcdAttempts = 5

// startEtcd runs an etcd member in this process and returns its client address.
func startEtcd(ctx context.Context, dir string) (*embed.Etcd, string, error) {
	var last error
	for range etcdAttempts {
		e, client, err := tryEtcd(ctx, filepath.Join(dir, "etcd"))
		if err == nil {
			return e, client, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, "", fmt.Errorf("etcd: %w", err)
		}
		last = err
	}
	return nil, "", fmt.Errorf("etcd: no free port in %d attempts: %w", etcdAttempts, last)
}

func tryEtcd(ctx context.Context, dir string) (*embed.Etcd, string, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, "", err
	}
	client, err := loopbackURL()
	if err != nil {
		return nil, "", err
	}
	peer, err := loopbackURL()
	if err != nil {
		return nil, "", err
	}
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.LogLevel = "fatal"   // it calls its own end an error
	cfg.UnsafeNoFsync = true // a sandbox has no data to lose
	cfg.QuotaBackendBytes = 4 << 30
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = "periodic", "5m"
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, "", err
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, client.String(), nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(startTimeout):
		err = fmt.Errorf("not ready after %v", startTimeout)
	}
	e.Close()
	return nil, "", err
}

func loopbackURL() (url.URL, error) {
	port, err := freePort()
	return url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}, err
}
