# A Slurm cluster of one node with four `sim`, as plain processes, in the folder $1. Sourced by `run`.
# Sets SLURM_URL, SLURM_TOKEN_FILE, SLURM_CONF; the pids to end go to $PIDS.

free_port() { python3 "$here/port.py" 20000; }

start_slurm() {
    local folder=$1 host; host=$(hostname -s)
    local ctld=$(free_port) slurmd=$(free_port) rest=$(free_port)
    mkdir -p "$folder"/{state,spool,log,munge}
    chmod 711 "$folder" "$folder/munge"

    # Munge of our own, beside whatever the machine has.
    dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 2>/dev/null
    chmod 400 "$folder/munge/key"
    munged --foreground --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
        --pid-file="$folder/munge/pid" --log-file="$folder/log/munged" --seed-file="$folder/munge/seed" \
        > "$folder/log/munged.out" 2>&1 &
    echo $! >> "$PIDS"

    dd if=/dev/urandom of="$folder/jwt.key" bs=32 count=1 2>/dev/null
    chmod 600 "$folder/jwt.key"
    cat > "$folder/gres.conf" <<END
NodeName=$host Name=sim Count=4
END
    cat > "$folder/slurm.conf" <<END
ClusterName=neuro-test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=$ctld
SlurmdPort=$slurmd
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key=$folder/jwt.key
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/ctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
GresTypes=sim
ReturnToService=2
KillWait=5
MinJobAge=300
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) Gres=sim:4 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
END
    export SLURM_CONF=$folder/slurm.conf
    for _ in $(seq 50); do [ -S "$folder/munge/socket" ] && break; sleep 0.1; done
    slurmctld -D -c > "$folder/log/slurmctld.out" 2>&1 &
    echo $! >> "$PIDS"
    slurmd -D -c -N "$host" > "$folder/log/slurmd.out" 2>&1 &
    echo $! >> "$PIDS"
    for _ in $(seq 40); do timeout 3 sinfo -h -o %T 2>/dev/null | grep -q idle && break; sleep 0.2; done
    timeout 3 sinfo -h -o '%N %T %G'

    SLURM_TOKEN_FILE=$folder/token
    timeout 5 scontrol token lifespan=86400 | sed -n 's/^SLURM_JWT=//p' > "$SLURM_TOKEN_FILE"
    # slurmrestd refuses to be root: it only passes on what the token says.
    chmod 755 "$folder" "$folder/munge"
    chmod 644 "$folder/slurm.conf" "$folder/gres.conf"
    SLURM_JWT=daemon setpriv --reuid=nobody --regid=nogroup --clear-groups \
        slurmrestd -a rest_auth/jwt -s openapi/v0.0.38 "127.0.0.1:$rest" > "$folder/log/slurmrestd.out" 2>&1 &
    echo $! >> "$PIDS"
    SLURM_URL=http://127.0.0.1:$rest
    for _ in $(seq 50); do
        curl -m 3 -sf -o /dev/null -H "X-SLURM-USER-NAME: root" -H "X-SLURM-USER-TOKEN: $(cat "$SLURM_TOKEN_FILE")" \
            "$SLURM_URL/slurm/v0.0.38/ping" && return 0
        sleep 0.2
    done
    echo "slurmrestd does not answer; its last lines:" >&2
    tail -n 5 "$folder"/log/* >&2
    return 1
}
