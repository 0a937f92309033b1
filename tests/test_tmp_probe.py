import numpy as np, pytest
from anomalabel.config import DetectionRequest
from anomalabel.pipeline import DetectionPipeline
from anomalabel.backbones import load_self_attention
@pytest.mark.parametrize("sal",["plp","clap","none"])
@pytest.mark.parametrize("err",[{"msgms":1.0,"features":0.0,"cell":8},{"msgms":1.0,"features":1.0,"cell":8}])
@pytest.mark.parametrize("steps",[(4,64),(8,64)])
def test_probe(reconstruction_bench, tmp_path, sal, err, steps):
    b=reconstruction_bench
    b.configure(errors=err, training={"epochs":steps[0],"samples":steps[1],"batch_size":8})
    b.train(saliency=sal)
    p=DetectionPipeline("cpu","float32")
    req=DetectionRequest(config="tissue",method="reconstruction",backbone=str(b.model))
    out=[]
    for seed,pl in ((33,True),(44,False),(35,True),(46,False)):
        r=p.detect(b.draw(tmp_path/f"x{seed}.png",seed,planted=pl),req); v=r.anomaly_map[0]
        out.append((pl,round(r.report.image_score,2),np.unravel_index(np.nanargmax(v),v.shape)))
    with open("/tmp/t5/probe.txt","a") as f: f.write(f"{sal} {err} {steps} thr {r.report.image_threshold.value:.2f} {out}\n")
