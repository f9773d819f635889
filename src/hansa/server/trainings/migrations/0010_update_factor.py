from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trainings", "0009_calibration")]

    operations = [migrations.AddField("update", "factor", models.FloatField(blank=True, null=True))]
