#!/bin/bash
# Submit the shards of a run, and the job that merges them when all have ended well:
#
#   bash docs/slurm/submit.sh SHARDS FOLDER ARGUMENTS-OF-EVALKIT...
#   bash docs/slurm/submit.sh 8 runs/ruler-7b ruler --ctx 4096,65536 --model ./olmo-7b
#
# The merged run is FOLDER/run (for a plan: FOLDER/run holds its runs). After a failure type the same line again.
set -euo pipefail

shards=$1
folder=$2
here=$(dirname "$(realpath "$0")")
array=$(sbatch --parsable --array="1-$shards" "$here/array.sbatch" "${@:2}")
echo "array $array: shards in $folder/shards"
merge="evalkit merge $(printf '%q' "$folder")/shards --out $(printf '%q' "$folder")/run"
sbatch --job-name=evalkit-merge --time=00:30:00 --dependency="afterok:$array" --wrap="$merge"
