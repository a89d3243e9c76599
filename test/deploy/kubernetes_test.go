package deploy

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const folder = "../../deploy/kubernetes"

// decode reads the documents of a manifest, and takes no field that Kubernetes does not have.
func decode(data []byte) ([]metav1.Object, error) {
	var out []metav1.Object
	docs := utilyaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(data)))
	buf := make([]byte, 1<<20)
	for {
		n, err := docs.Read(buf)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		doc := bytes.Clone(buf[:n])
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			return nil, err
		}
		var object metav1.Object
		switch kind.APIVersion + " " + kind.Kind {
		case "apps/v1 Deployment":
			object = &appsv1.Deployment{}
		case "v1 ConfigMap":
			object = &corev1.ConfigMap{}
		case "v1 Secret":
			object = &corev1.Secret{}
		case "v1 Service":
			object = &corev1.Service{}
		case "policy/v1 PodDisruptionBudget":
			object = &policyv1.PodDisruptionBudget{}
		case "autoscaling/v2 HorizontalPodAutoscaler":
			object = &autoscalingv2.HorizontalPodAutoscaler{}
		default:
			return nil, fmt.Errorf("a %s of %s is not expected here", kind.Kind, kind.APIVersion)
		}
		if err := yaml.UnmarshalStrict(doc, object); err != nil {
			return nil, fmt.Errorf("%s %s: %w", kind.Kind, object.GetName(), err)
		}
		out = append(out, object)
	}
}

// manifests decodes all files but the kustomization.
func manifests(t *testing.T) []metav1.Object {
	t.Helper()
	files, err := filepath.Glob(folder + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []metav1.Object
	for _, name := range files {
		if filepath.Base(name) == "kustomization.yaml" {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := decode(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, o := range objects {
			if o.GetNamespace() != "" {
				t.Errorf("%s: %s names a namespace", name, o.GetName())
			}
		}
		all = append(all, objects...)
	}
	return all
}

func of[T any](objects []metav1.Object) map[string]T {
	out := map[string]T{}
	for _, o := range objects {
		if v, ok := o.(T); ok {
			out[o.GetName()] = v
		}
	}
	return out
}

// argument gives what follows a flag among the arguments; empty when it is not there.
func argument(args []string, flag string) string {
	if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

func TestDeployments(t *testing.T) {
	all := manifests(t)
	deployments, configs, secrets := of[*appsv1.Deployment](all), of[*corev1.ConfigMap](all), of[*corev1.Secret](all)
	if len(deployments) != 3 {
		t.Fatalf("%d deployments, want 3", len(deployments))
	}
	for name, d := range deployments {
		pod := d.Spec.Template.Spec
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err != nil || selector.Empty() || !selector.Matches(labels.Set(d.Spec.Template.Labels)) {
			t.Errorf("%s: selector %s does not choose its own pods (%v)", name, selector, err)
		}
		for _, spread := range pod.TopologySpreadConstraints {
			if s, err := metav1.LabelSelectorAsSelector(spread.LabelSelector); err != nil || s.String() != selector.String() {
				t.Errorf("%s: spreads %s (%v)", name, s, err)
			}
		}
		if len(pod.Containers) != 1 {
			t.Fatalf("%s: %d containers", name, len(pod.Containers))
		}
		c := pod.Containers[0]
		s := c.SecurityContext
		if pod.SecurityContext == nil || !*pod.SecurityContext.RunAsNonRoot || *pod.SecurityContext.RunAsUser != 65532 || s == nil || !*s.ReadOnlyRootFilesystem ||
			*s.AllowPrivilegeEscalation || !slices.Contains(s.Capabilities.Drop, "ALL") || *pod.AutomountServiceAccountToken {
			t.Errorf("%s: may do more than it needs: %+v %+v", name, pod.SecurityContext, s)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: resources %+v", name, c.Resources)
		}
		for kind, p := range map[string]*corev1.Probe{"liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
			port := ""
			switch {
			case p == nil:
			case p.HTTPGet != nil:
				port = p.HTTPGet.Port.StrVal
				if want := map[string]string{"liveness": "/healthz", "readiness": "/readyz"}[kind]; p.HTTPGet.Path != want {
					t.Errorf("%s: %s asks %s, want %s", name, kind, p.HTTPGet.Path, want)
				}
			case p.TCPSocket != nil:
				port = p.TCPSocket.Port.StrVal
			}
			if !slices.ContainsFunc(c.Ports, func(have corev1.ContainerPort) bool { return have.Name == port }) {
				t.Errorf("%s: the %s probe asks port %q, which there is not", name, kind, port)
			}
		}
		listen := argument(c.Args, "--http-listen") + argument(c.Args, "--listen")
		if len(c.Ports) != 1 || listen != fmt.Sprintf("0.0.0.0:%d", c.Ports[0].ContainerPort) {
			t.Errorf("%s: listens on %s, ports %+v", name, listen, c.Ports)
		}
		if a := d.Spec.Template.Annotations; a["prometheus.io/scrape"] == "true" && (a["prometheus.io/port"] != fmt.Sprint(c.Ports[0].ContainerPort) || a["prometheus.io/path"] != "/metrics") {
			t.Errorf("%s: annotations %v", name, a)
		}
		for _, from := range c.EnvFrom {
			if from.ConfigMapRef == nil || configs[from.ConfigMapRef.Name] == nil {
				t.Errorf("%s: environment from %+v, which there is not", name, from)
			}
		}
		volumes := map[string]corev1.Volume{}
		for _, v := range pod.Volumes {
			volumes[v.Name] = v
			if v.Secret == nil {
				continue
			}
			secret := secrets[v.Secret.SecretName]
			if secret == nil {
				t.Fatalf("%s: no secret %s", name, v.Secret.SecretName)
			}
			for _, item := range v.Secret.Items {
				if secret.StringData[item.Key] == "" {
					t.Errorf("%s: secret %s has no %s", name, secret.Name, item.Key)
				}
			}
		}
		for _, m := range c.VolumeMounts {
			if _, ok := volumes[m.Name]; !ok {
				t.Errorf("%s: no volume %s", name, m.Name)
			}
			for _, flag := range []string{"--redis-password-file", "--dashboard-token-file"} {
				if file := argument(c.Args, flag); m.Name == "secrets" && file != "" && (filepath.Dir(file) != m.MountPath || secrets["pyworkflow"].StringData[filepath.Base(file)] == "") {
					t.Errorf("%s: %s %s is not where the secret is mounted, %s", name, flag, file, m.MountPath)
				}
			}
		}
	}
}

// A worker must be given longer than it drains, a beat and a dashboard longer than they need.
func TestGracePeriods(t *testing.T) {
	for name, d := range of[*appsv1.Deployment](manifests(t)) {
		args := d.Spec.Template.Spec.Containers[0].Args
		grace := time.Duration(*d.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
		least := 10 * time.Second
		if args[0] == "worker" {
			drain, err := time.ParseDuration(argument(args, "--drain-timeout"))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			least += drain
		}
		if grace < least {
			t.Errorf("%s: terminationGracePeriodSeconds %s, want %s or more", name, grace, least)
		}
	}
}

// What refers to a deployment finds it.
func TestReferences(t *testing.T) {
	all := manifests(t)
	deployments := of[*appsv1.Deployment](all)
	chosen := func(s labels.Selector) (found []*appsv1.Deployment) {
		for _, d := range deployments {
			if s.Matches(labels.Set(d.Spec.Template.Labels)) {
				found = append(found, d)
			}
		}
		return found
	}
	scalers, budgets, services := of[*autoscalingv2.HorizontalPodAutoscaler](all), of[*policyv1.PodDisruptionBudget](all), of[*corev1.Service](all)
	if len(scalers) != 1 || len(budgets) != 2 || len(services) != 1 {
		t.Fatalf("%d autoscalers, %d budgets, %d services", len(scalers), len(budgets), len(services))
	}
	for name, h := range scalers {
		d := deployments[h.Spec.ScaleTargetRef.Name]
		if d == nil || h.Spec.ScaleTargetRef.Kind != "Deployment" || h.Spec.ScaleTargetRef.APIVersion != "apps/v1" {
			t.Fatalf("%s scales %+v, which there is not", name, h.Spec.ScaleTargetRef)
		}
		if d.Spec.Replicas != nil || *h.Spec.MinReplicas < 2 || h.Spec.MaxReplicas <= *h.Spec.MinReplicas {
			t.Errorf("%s: from %d to %d, and the deployment says %v", name, *h.Spec.MinReplicas, h.Spec.MaxReplicas, d.Spec.Replicas)
		}
	}
	for name, b := range budgets {
		s, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil || len(chosen(s)) != 1 {
			t.Fatalf("budget %s chooses %d deployments (%v)", name, len(chosen(s)), err)
		}
		if d := chosen(s)[0]; b.Spec.MinAvailable != nil && int(*d.Spec.Replicas) <= b.Spec.MinAvailable.IntValue() {
			t.Errorf("budget %s lets no pod of %d go", name, *d.Spec.Replicas)
		}
	}
	for name, s := range services {
		found := chosen(labels.SelectorFromSet(s.Spec.Selector))
		if len(found) != 1 || found[0].Spec.Template.Spec.Containers[0].Ports[0].Name != s.Spec.Ports[0].TargetPort.StrVal {
			t.Errorf("service %s leads to %d deployments, port %s", name, len(found), s.Spec.Ports[0].TargetPort.String())
		}
	}
}

func TestKustomization(t *testing.T) {
	data, err := os.ReadFile(folder + "/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var k struct {
		metav1.TypeMeta `json:",inline"`
		Resources       []string `json:"resources"`
		Labels          []struct {
			Pairs map[string]string `json:"pairs"`
		} `json:"labels"`
		Images []struct{ Name, NewName, NewTag string } `json:"images"`
	}
	if err := yaml.UnmarshalStrict(data, &k); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(folder + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range files {
		if base := filepath.Base(f); base != "kustomization.yaml" && !strings.Contains(base, "example") {
			want = append(want, base)
		}
	}
	slices.Sort(k.Resources)
	if !slices.Equal(k.Resources, want) {
		t.Errorf("resources %v, want %v", k.Resources, want)
	}
	for name, d := range of[*appsv1.Deployment](manifests(t)) {
		if image := d.Spec.Template.Spec.Containers[0].Image; len(k.Images) != 1 || image != k.Images[0].Name {
			t.Errorf("%s: image %s is none of %+v", name, image, k.Images)
		}
	}
}

// The check itself: a field that Kubernetes does not have is refused.
func TestDecodeIsStrict(t *testing.T) {
	good := "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 1}]}\n"
	if objects, err := decode([]byte(good)); err != nil || len(objects) != 1 {
		t.Fatalf("%v, %v", objects, err)
	}
	for _, bad := range []string{strings.Replace(good, "ports", "prots", 1), strings.Replace(good, "port: 1", "port: one", 1), strings.Replace(good, "Service", "Sevrice", 1),
		good + "---\nkind: Pod\n"} {
		if _, err := decode([]byte(bad)); err == nil {
			t.Errorf("accepted: %s", bad)
		}
	}
}
