//! A change of the files is a reload, however they are changed.

use std::{fs, os::unix::fs::symlink, path::Path};

use runwright::app::Trigger;

use crate::support::{reloading::Reloading, run_with, service::with_addresses, soon};

fn saying(text: &str) -> String {
    let script = format!("models: {{ m: {{ provider: scripted, script: [{{ say: {text} }}] }} }}");
    with_addresses(&format!("{script}\nagents: {{ a: {{ model: m }} }}\n"))
}

/// Writes a version of the configuration, and turns the link to it, as Kubernetes does with a mounted ConfigMap.
fn turn_to(folder: &Path, version: &str, yaml: &str) {
    fs::create_dir(folder.join(version)).unwrap();
    fs::write(folder.join(version).join("a.yaml"), yaml).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn a_link_that_turns_is_a_change_and_no_change_is_none() {
    for whole_folder in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        turn_to(folder.path(), "..v1", &saying("one"));
        symlink("..data/a.yaml", folder.path().join("a.yaml")).unwrap();
        let path = if whole_folder { folder.path().to_owned() } else { folder.path().join("a.yaml") };
        let place = folder.path().to_owned();
        let reloading = Reloading::of_folder(folder, &path).await;
        let said = async || reloading.service.run(run_with("a", [])).await.unwrap().final_output;
        for _ in 0..3 {
            reloading.trigger(Trigger::Look);
        }
        assert_eq!(reloading.told().await.succeeded, 1, "to look loads nothing that has not changed");

        turn_to(&place, "..v2", &saying("two"));
        fs::remove_dir_all(place.join("..v1")).unwrap();
        reloading.trigger(Trigger::Look);
        reloading.trigger(Trigger::Look);
        soon("a reload", reloading.service.reloads.reach(|standing| standing.succeeded == 2)).await;
        assert_eq!(said().await, "two");
    }
}
