// Protogen compiles .proto files and runs code generators over them, so that
// nobody needs a prebuilt protoc: the compiler and the generators come from Go
// modules, pinned in tools/go.mod.
//
//	protogen -I DIR -o DIR -plugin EXECUTABLE [-plugin ...] FILE...
//
// Every plugin is run with paths=source_relative.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run() error {
	include := flag.String("I", ".", "folder that imports are relative to")
	out := flag.String("o", ".", "folder to write to")
	var plugins []string
	flag.Func("plugin", "executable of a generator; may be repeated", func(s string) error {
		plugins = append(plugins, s)
		return nil
	})
	flag.Parse()
	if len(plugins) == 0 || flag.NArg() == 0 {
		return errors.New("usage: protogen -I DIR -o DIR -plugin EXECUTABLE... FILE...")
	}

	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{*include}}),
		SourceInfoMode: protocompile.SourceInfoStandard, // comments become Go comments
	}
	files, err := compiler.Compile(context.Background(), flag.Args()...)
	if err != nil {
		return err
	}
	req := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: flag.Args(),
		Parameter:      proto.String("paths=source_relative"),
	}
	seen := map[string]bool{}
	for _, f := range files {
		req.ProtoFile = appendWithImports(req.ProtoFile, f, seen)
	}
	for _, p := range plugins {
		if err := generate(p, req, *out); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// appendWithImports lists imports before the files that need them: generators
// rely on that order.
func appendWithImports(list []*descriptorpb.FileDescriptorProto, f protoreflect.FileDescriptor, seen map[string]bool) []*descriptorpb.FileDescriptorProto {
	if seen[f.Path()] {
		return list
	}
	seen[f.Path()] = true
	for i := range f.Imports().Len() {
		list = appendWithImports(list, f.Imports().Get(i).FileDescriptor, seen)
	}
	return append(list, protodesc.ToFileDescriptorProto(f))
}

// generate runs one plugin and writes the files that it answers.
func generate(plugin string, req *pluginpb.CodeGeneratorRequest, out string) error {
	in, err := proto.Marshal(req)
	if err != nil {
		return err
	}
	cmd := exec.Command(plugin)
	cmd.Stdin = bytes.NewReader(in)
	cmd.Stderr = os.Stderr
	answer, err := cmd.Output()
	if err != nil {
		return err
	}
	var resp pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(answer, &resp); err != nil {
		return fmt.Errorf("read its answer: %w", err)
	}
	if resp.Error != nil {
		return errors.New(strings.TrimSpace(resp.GetError()))
	}
	for _, f := range resp.GetFile() {
		if err := os.WriteFile(filepath.Join(out, f.GetName()), []byte(f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
