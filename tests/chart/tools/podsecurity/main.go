// Podsecurity holds manifests against the Pod Security level "restricted", with the evaluator of Kubernetes' own admission.
//
// It reads JSON from standard input, an object from the name of a manifest to its pod (metadata and spec), and writes what is
// wrong. It exits with 1 if anything is.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	pods := map[string]corev1.PodTemplateSpec{}
	if err := json.NewDecoder(os.Stdin).Decode(&pods); err != nil {
		return err
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return err
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	names := make([]string, 0, len(pods))
	for name := range pods {
		names = append(names, name)
	}
	sort.Strings(names)
	bad := 0
	for _, name := range names {
		pod := pods[name]
		for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
			if !result.Allowed {
				bad++
				fmt.Printf("%s: %s (%s)\n", name, result.ForbiddenReason, result.ForbiddenDetail)
			}
		}
	}
	if bad > 0 || len(pods) == 0 {
		return fmt.Errorf("%d pods, %d violations of \"restricted\"", len(pods), bad)
	}
	fmt.Printf("%d pods\n", len(pods))
	return nil
}
