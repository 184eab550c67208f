package controlplane

import (
	"flag"
	"fmt"
	"io"
	"os"

	"k8s.io/klog/v2"
)

// redirectLogs sends klog, which all components share, to one file. Without
// these flags errors would also go to standard error, and each line would be
// written once for every severity up to its own.
func redirectLogs(file string) (closeLogs func(), err error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("log of the control plane: %w", err)
	}
	var flags flag.FlagSet
	klog.InitFlags(&flags)
	for name, value := range map[string]string{
		"logtostderr": "false", "stderrthreshold": "FATAL", "one_output": "true",
	} {
		if err := flags.Set(name, value); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("klog flag %s: %w", name, err)
		}
	}
	klog.SetOutput(f)
	return func() {
		klog.Flush()
		klog.SetOutput(io.Discard) // a component that was not waited for may still log
		_ = f.Close()
	}, nil
}
