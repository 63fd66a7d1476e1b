// Command dockerfile-lint looks for mistakes in Dockerfiles, with the rules of BuildKit: those that "docker build --check"
// applies, without a Docker daemon, and without asking a registry about base images.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func main() {
	status := 0
	for _, path := range os.Args[1:] {
		found, err := lint(context.Background(), path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			status = 1
		}
		if found > 0 {
			status = 1
		}
	}
	os.Exit(status)
}

// lint prints what is wrong with a Dockerfile, and returns how much that is.
func lint(ctx context.Context, path string) (found int, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	source := &llb.SourceMap{Filename: path, Language: "Dockerfile", Data: text, Definition: &llb.Definition{}}
	results, err := dockerfile2llb.DockerfileLint(ctx, text, dockerfile2llb.ConvertOpt{
		MetaResolver: anyImage{}, SourceMap: source,
	})
	if err != nil {
		return 0, err
	}
	for _, warning := range results.Warnings {
		fmt.Fprintf(os.Stderr, "%s: %s (%s: %s)\n", place(path, warning.Location), warning.Detail, warning.RuleName, warning.URL)
	}
	if results.Error != nil {
		return 0, fmt.Errorf("it cannot be built: %s", results.Error.Message)
	}
	return len(results.Warnings), nil
}

// place returns a path with the number of a line, if that is known.
func place(path string, location *pb.Location) string {
	if ranges := location.GetRanges(); len(ranges) > 0 {
		return fmt.Sprintf("%s:%d", path, ranges[0].GetStart().GetLine())
	}
	return path
}

// anyImage knows every base image, and nothing about it.
type anyImage struct{}

// ResolveImageConfig returns the configuration of a base image.
func (anyImage) ResolveImageConfig(
	_ context.Context, ref string, _ sourceresolver.Opt,
) (name string, hash digest.Digest, config []byte, err error) {
	config, err = json.Marshal(ocispecs.Image{})
	return ref, "", config, err
}
